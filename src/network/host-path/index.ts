export { chooseHostAddress, isWithin } from './host-address.ts'
export { HostPath, type HostPathSettings } from './host-path.ts'
