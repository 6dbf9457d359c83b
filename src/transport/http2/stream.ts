/**
 * A stream: one request and its response on a connection.
 */
import { type State, state } from "./states.ts"
import { ReceiveWindow, SendWindow } from "./windows.ts"

// What a stream expects whose body has gone on behind its content-length.
const exceeded = -2

/** `T` is what the user of the connection keeps with a stream. */
export class Stream<T> {
  readonly id: number
  state: State = state.idle
  /** The user's own; `undefined` until it puts something there. */
  context: T | undefined
  readonly send: SendWindow
  readonly receive: ReceiveWindow
  /** Bytes that arrived and haven't been taken in: the window isn't open for them again. */
  untaken = 0
  /** Bytes that arrived and are held: those, and parts of messages that aren't whole. */
  held = 0
  /** Bytes of its header lists, if they are long. */
  headSize = 0
  /** How many bytes are taken from the connection's memory for it. */
  charged = 0
  /** False where content-length isn't the length of the peer's body: in responses to HEAD and CONNECT. */
  measured = true
  /** How much of the body is still to come by its content-length; -1 if it said none. */
  expected = -1
  /** True once the head that isn't informational has come. */
  headed = false
  /** At a server: when the stream began, and how often output had been taken when its response did; -1 until then. */
  begunAt = 0
  respondedAt = -1
  /** Parts of the body that wait for the windows or the socket, in order; `pendingFrom` is where the first one goes on. */
  readonly pending: Array<Uint8Array> = []
  pendingFrom = 0
  /** How many bytes wait. */
  pendingBytes = 0
  /** When what waits has to be gone, by the connection's clock. */
  sendBy = Number.POSITIVE_INFINITY
  /** True if some of what waits has gone out since `stalledAt` was last looked at. */
  progressed = true
  stalledAt = 0
  /** What follows when nothing is pending any more: the end of the stream, with or without trailers. */
  ending: (() => void) | undefined

  constructor(id: number, sendWindow: number, receiveWindow: number) {
    this.id = id
    this.send = new SendWindow(sendWindow)
    this.receive = new ReceiveWindow(receiveWindow)
  }

  get closed(): boolean {
    return this.state === state.closed
  }

  /** True while our side of the stream can send: it has begun, and neither ended nor been told to. */
  get sends(): boolean {
    return (this.state === state.open || this.state === state.halfClosedRemote) && this.ending === undefined
  }

  /** Counts data that arrived against the content-length. */
  count(length: number): void {
    if (this.expected < 0) return
    this.expected -= length
    if (this.expected < 0) this.expected = exceeded
  }

  /** True once the body is longer than its content-length. */
  get tooLong(): boolean {
    return this.expected === exceeded
  }

  /** True if a body that ends here is shorter than its content-length, or longer. */
  get wrongLength(): boolean {
    return this.expected > 0 || this.tooLong
  }
}
