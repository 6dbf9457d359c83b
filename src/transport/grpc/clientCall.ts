/**
 * A call as a gRPC client makes it: from the head of its request to the trailers of its response.
 */
import type { CallInfo } from "../../core/rpc/call.ts"
import { type Deadline, exceeded } from "../../core/rpc/deadline.ts"
import { changed, RpcError } from "../../core/rpc/error.ts"
import type { Expiring } from "../../core/rpc/expiry.ts"
import { untaken } from "../../core/rpc/untaken.ts"
import type { Caller, Carrier, ClientStream, Origin } from "../http2/client.ts"
import { type ErrorCode, errorCode } from "../http2/frames.ts"
import type { ResponseHead } from "../http2/head.ts"
import type { Field } from "../http2/hpack.ts"
import type { MemoryBudget } from "../http2/memory.ts"
import type { Calling, Plan } from "./client.ts"
import { type Answered, readAnswerHead } from "./head.ts"
import { Incoming, noMemory, type Source } from "./incoming.ts"
import type { Sink } from "./outgoing.ts"
import { resetError } from "./reset.ts"
import { endedError, readTrailers } from "./status.ts"

/** Who made the call. */
export interface Maker {
  /** The server has begun to answer. */
  readonly begun: (answers: Incoming) => void
  /** More of the request is welcome. */
  readonly drained: () => void
  /** The call is over. */
  readonly ended: (error: RpcError | undefined) => void
}

// What of a request is kept, until its answer begins, to be sent again where the server didn't take it. A stream that
// has sent more can't move.
const maxKept = 256 * 1024
// How often a call moves on from connections that are going away, before it is its retries' business.
const maxMoves = 5

// What is said of a response whose trailers say all.
const nothing: Answered = { metadata: [], encoding: undefined, trailersOnly: false, error: undefined }

export class ClientCall implements Caller, Source, Sink, Expiring {
  readonly waitForReady: boolean
  /** Infinity for none. */
  readonly deadline: Deadline
  private readonly calling: Calling
  private readonly plan: Plan
  private readonly info: CallInfo
  private readonly maker: Maker
  private carrier: Carrier | undefined
  private stream: ClientStream | undefined
  // What was sent; `undefined` once it need not be, or can't be, sent again.
  private kept: Array<Uint8Array> | undefined = []
  private keptBytes = 0
  private requested = false
  private answers: Incoming | undefined
  // A head with a status, which ends the call as well if nothing follows.
  private trailersOnly: { readonly fields: ReadonlyArray<Field>; readonly answered: Answered } | undefined
  private openedAt = 0
  private moves = 0
  private refused = false
  private over = false
  // With what the rest of the stream is declined, if there is any (PROTOCOL-HTTP2, "Early Server Closure").
  private parting: ErrorCode = errorCode.cancel

  constructor(calling: Calling, plan: Plan, info: CallInfo, maker: Maker) {
    this.calling = calling
    this.plan = plan
    this.info = info
    this.maker = maker
    this.waitForReady = info.waitForReady ?? calling.waitForReady
    this.deadline = info.deadline ?? Number.POSITIVE_INFINITY
  }

  /** Begins a call whose requests follow. */
  begin(): void {
    if (this.info.deadline !== undefined) {
      if (this.deadline <= this.calling.now()) return this.expire()
      this.calling.expiry.add(this)
    }
    this.calling.opener.open(this)
  }

  /** Begins a call with all that it has to say. */
  beginWith(request: Uint8Array): void {
    this.kept?.push(request)
    this.requested = true
    this.begin()
  }

  // ---- The stream

  fields(origin: Origin): ReadonlyArray<Field> {
    return this.calling.fields(this.plan, this.info, origin)
  }

  opened(carrier: Carrier, stream: ClientStream): void {
    this.carrier = carrier
    this.stream = stream
    if (this.info.deadline !== undefined) this.openedAt = performance.now()
    const { kept = [], requested } = this
    const last = kept.length - 1
    for (let i = 0; i <= last; i++) {
      const bytes = kept[i] as Uint8Array
      if (requested && i === last) carrier.connection.sendLast(stream, bytes)
      else carrier.connection.sendData(stream, bytes)
    }
    if (requested && last < 0) carrier.connection.sendEnd(stream)
    if (!requested && stream.pending.length === 0) this.maker.drained()
  }

  unopened(error: RpcError): void {
    this.fail(untaken(this.named(error)))
  }

  /** Sends the call through another connection, if nothing tells that its server has done anything of it. */
  private move(): boolean {
    if (this.kept === undefined || this.answers !== undefined) return false
    if (this.carrier?.leaving === true) {
      if (this.moves++ >= maxMoves) return false
    } else if (this.refused) return false
    // A server that refuses a call twice has to be left alone for a while.
    else this.refused = true
    this.stream = undefined
    this.calling.opener.open(this)
    return true
  }

  // ---- The request

  get room(): number {
    const { carrier, stream } = this
    return carrier === undefined || stream === undefined ? 0 : carrier.connection.room(stream)
  }

  send(bytes: Uint8Array): boolean {
    // Of a call that is over the requests are being interrupted: they may wait for that.
    if (this.over) return false
    const { carrier, stream } = this
    this.keep(bytes)
    return carrier !== undefined && stream !== undefined && carrier.connection.sendData(stream, bytes)
  }

  /** Says that the request is whole. */
  sendEnd(): void {
    this.requested = true
    if (this.over || this.stream === undefined) return
    this.carrier?.connection.sendEnd(this.stream)
  }

  private keep(bytes: Uint8Array): void {
    if (this.kept === undefined) return
    this.kept.push(bytes)
    this.keptBytes += bytes.length
    // What no stream has taken yet stands here alone.
    if (this.keptBytes > maxKept && this.stream !== undefined) this.kept = undefined
  }

  drained(): void {
    this.maker.drained()
  }

  // ---- The response

  head(head: ResponseHead): void {
    if (this.over) return
    const answered = readAnswerHead(head, this.plan.accepted)
    if (answered.error !== undefined) return this.fail(this.named(answered.error))
    // Whether it is all there is shows next.
    if (answered.trailersOnly) this.trailersOnly = { fields: head.fields, answered }
    else this.answer(answered)
  }

  private answer({ metadata, encoding }: Answered): Incoming {
    this.kept = undefined
    const { response } = this.info
    response.header = metadata
    response.committed = true
    const answers = new Incoming(this.plan.incoming(encoding), this)
    this.answers = answers
    this.maker.begun(answers)
    return answers
  }

  /** The answers of a response that goes on behind its head. */
  private incoming(head = this.trailersOnly?.answered ?? nothing): Incoming {
    return this.answers ?? this.answer(head)
  }

  data(bytes: Uint8Array, start: number, end: number): void {
    if (this.over) return this.taken(end - start)
    try {
      this.incoming().read(bytes, start, end)
    } catch (error) {
      this.broken(error)
    }
  }

  taken(length: number, released = length): void {
    if (this.stream !== undefined) this.carrier?.connection.taken(this.stream, length, released)
  }

  exhausted({ name, limit }: MemoryBudget): void {
    this.fail(this.named(noMemory(name, limit)))
  }

  end(trailers: ReadonlyArray<Field>): void {
    if (this.over) return
    this.parting = errorCode.noError
    const { response } = this.info
    const only = this.answers === undefined && trailers.length === 0 ? this.trailersOnly : undefined
    if (only === undefined) this.incoming()
    const ended = readTrailers(only?.fields ?? trailers)
    response.trailer = ended.metadata
    const error = endedError(ended, response.header, this.plan)
    if (error !== undefined) return this.fail(this.named(error))
    try {
      this.incoming(nothing).end()
    } catch (cause) {
      return this.broken(cause)
    }
    this.finish(undefined)
  }

  reset(code: number, tooLong?: string): void {
    if (this.over) return
    if (code === errorCode.refusedStream && this.move()) return
    // A server that knows the deadline may be the first to find that it has passed.
    const late = code === errorCode.cancel && this.deadline <= this.calling.now()
    const error = late && tooLong === undefined ? this.late() : resetError(code, tooLong)
    this.stream = undefined
    const { lost, connection } = this.carrier ?? {}
    this.fail(this.named(lost !== undefined && connection?.over === true ? lost : error))
  }

  // ---- The end

  /** Ends the call at its deadline. */
  expire(): void {
    this.doubt()
    this.fail(this.named(this.late()))
  }

  /** The error of a call whose deadline has passed: it says what it waited for. */
  private late(): RpcError {
    const { carrier, calling } = this
    if (carrier === undefined || this.stream === undefined)
      return exceeded("the call could be sent", calling.opener.trouble)
    const { authority } = carrier.origin
    return exceeded(
      "the call ended",
      `${authority} had ${this.answers === undefined ? "not responded" : "not ended its response"}`,
    )
  }

  /** Ends the call, since its caller wants no more of it. */
  cancel(): void {
    if (this.over) return
    // A layer that ends its calls at their deadline may be the first to do so.
    if (this.info.deadline !== undefined && this.deadline <= this.calling.now()) this.doubt()
    this.close()
  }

  private doubt(): void {
    if (this.stream !== undefined) this.carrier?.doubt(this.openedAt)
  }

  /** Ends the call with an error. */
  fail(error: RpcError): void {
    if (this.over) return
    const { header } = this.info.response
    if (header.length === 0 || error.header.length > 0) return this.finish(error)
    this.finish(changed(error, { header }))
  }

  private broken(reason: unknown): void {
    if (!(reason instanceof RpcError)) throw reason
    this.fail(this.named(reason))
  }

  /** The error of this call alone: one of a connection is that of all calls that wait for it. */
  private named(error: RpcError): RpcError {
    return changed(error, { method: this.plan.method })
  }

  private finish(error: RpcError | undefined): void {
    this.close()
    this.maker.ended(error)
  }

  private close(): void {
    this.over = true
    this.kept = undefined
    if (this.info.deadline !== undefined) this.calling.expiry.forget(this)
    const { stream, carrier } = this
    // Who has its answer, or wants none, has no more to say; the server need not wait for it.
    if (stream !== undefined) carrier?.connection.reset(stream, this.parting)
    else this.calling.opener.forget(this)
  }
}
