/**
 * The requests of a streaming call: what has arrived, until the program pulls it.
 */
import { Cause, Effect, type Pull, Stream } from "effect"
import type { RpcError } from "../../core/rpc/error.ts"

type Messages = readonly [unknown, ...Array<unknown>]
type Next = Pull.Pull<Messages, RpcError>

const isFilled = (messages: ReadonlyArray<unknown>): messages is Messages => messages.length > 0

/**
 * A queue without a bound of its own: the flow-control windows bound it, since `taken` opens them again only when the
 * program has pulled. All that arrived since the last pull is one array.
 */
export class Requests {
  private arrived: Array<unknown> = []
  private ended: Next | undefined
  private resume: ((next: Next) => void) | undefined
  private readonly taken: () => void

  /** `taken` is called when the program has taken all that arrived. */
  constructor(taken: () => void) {
    this.taken = taken
  }

  get empty(): boolean {
    return this.arrived.length === 0
  }

  push(message: unknown): void {
    this.arrived.push(message)
  }

  pushAll(messages: ReadonlyArray<unknown>): void {
    for (const message of messages) this.arrived.push(message)
  }

  /** Hands what was pushed to a program that waits for it: once for all messages of a piece of the body. */
  flush(): void {
    const { resume } = this
    if (resume === undefined) return
    const next = this.next()
    if (next === undefined) return
    this.resume = undefined
    resume(next)
  }

  end(): void {
    this.ended ??= Cause.done()
    this.flush()
  }

  private next(): Next | undefined {
    const { arrived } = this
    if (!isFilled(arrived)) return this.ended
    this.arrived = []
    this.taken()
    return Effect.succeed(arrived)
  }

  readonly stream: Stream.Stream<unknown, RpcError> = Stream.fromPull(
    Effect.succeed(
      Effect.suspend(
        () =>
          this.next() ??
          Effect.callback<Messages, RpcError | Cause.Done>((resume) => {
            this.resume = resume
            return Effect.sync(() => {
              this.resume = undefined
            })
          }),
      ),
    ),
  )
}
