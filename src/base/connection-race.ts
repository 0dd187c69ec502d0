import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'

/** When another connection is begun beside those that are not ready yet. In milliseconds. */
export interface RacePace {
  /** After the last one, while the other host has accepted none: its answers may be lost on the way. */
  unanswered: number
  /** After the last one, while one is accepted: the other host may be busy, and another greeting is work for it. */
  accepted: number
}

const usualPace: RacePace = { unanswered: 250, accepted: 1_000 }
/** Connections of one race; each goes on sending what is lost, ever more rarely, as TCP does. */
const mostConnections = 8
/** Milliseconds. */
const patience = 10_000

/**
 * Opens a TLS connection on a network that may lose most of what is sent: begins others while the first is not ready, takes
 * the one that is ready first and closes the rest. TCP alone waits a second before it repeats a lost greeting, then two, four.
 * Rejects when all that were begun have failed, after ten seconds, and with the reason of `signal`.
 */
export function raceConnections(
  options: ConnectionOptions,
  signal?: AbortSignal,
  pace: RacePace = usualPace,
): Promise<TLSSocket> {
  const race = new ConnectionRace(options, pace)
  const onAbort = (): void => race.lose(signal!.reason as Error)
  signal?.addEventListener('abort', onAbort)
  if (signal?.aborted) onAbort()
  else race.begin()
  return race.winner.finally(() => signal?.removeEventListener('abort', onAbort))
}

class ConnectionRace {
  readonly #options: ConnectionOptions
  readonly #pace: RacePace
  readonly #settled = Promise.withResolvers<TLSSocket>()
  readonly #running = new Set<TLSSocket>()
  readonly #late: NodeJS.Timeout
  #begun = 0
  #isOver = false
  #isAccepted = false
  #next: NodeJS.Timeout | undefined

  constructor(options: ConnectionOptions, pace: RacePace) {
    this.#options = options
    this.#pace = pace
    this.#late = setTimeout(() => this.lose(new Error(`not connected within ${patience / 1000} s`)), patience)
  }

  get winner(): Promise<TLSSocket> {
    return this.#settled.promise
  }

  begin(): void {
    this.#begun += 1
    const socket = connect(this.#options)
    this.#running.add(socket)
    socket.once('connect', () => this.#accept())
    socket.once('secureConnect', () => this.#win(socket))
    socket.on('error', (error) => this.#drop(socket, error))
    socket.once('close', () => this.#drop(socket, connectionClosed()))
    this.#schedule()
  }

  /** Ends the race without a winner; nothing happens when it is over. */
  lose(reason: Error): void {
    if (this.#isOver) return
    this.#end()
    this.#settled.reject(reason)
  }

  #schedule(): void {
    clearTimeout(this.#next)
    if (this.#isOver || this.#begun >= mostConnections) return
    const { accepted, unanswered } = this.#pace
    this.#next = setTimeout(() => this.begin(), this.#isAccepted ? accepted : unanswered)
  }

  #accept(): void {
    if (this.#isAccepted) return
    this.#isAccepted = true
    this.#schedule()
  }

  #win(socket: TLSSocket): void {
    if (this.#isOver) return
    this.#running.delete(socket)
    this.#end()
    this.#settled.resolve(socket)
  }

  #drop(socket: TLSSocket, reason: Error): void {
    if (this.#running.delete(socket) && this.#running.size === 0) this.lose(reason)
  }

  #end(): void {
    this.#isOver = true
    clearTimeout(this.#late)
    clearTimeout(this.#next)
    for (const socket of this.#running) socket.destroy()
  }
}

function connectionClosed(): Error {
  return Object.assign(new Error('the connection was closed before it was ready'), { code: 'ECONNRESET' })
}
