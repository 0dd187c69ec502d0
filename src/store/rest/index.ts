export { earlyAnswerHeader, encodeEarlyAnswer, wantsEarlyAnswer } from './early-answer.ts'
export * from './rest-client.ts'
export * from './rest-store.ts'
export * from './status.ts'
