/**
 * Attempts: a call that layers retry or hedge is sent several times, and each time is an attempt.
 *
 * Source: gRPC's proposal A6, "Pushback" and "Exposed Retry Metadata".
 */
import { Cause, type Exit, Option } from "effect"
import { type CallInfo, type Method, path, type ResponseMetadata } from "./call.ts"
import { changed, type RpcError } from "./error.ts"
import * as Metadata from "./metadata.ts"

/** Which methods' calls may be sent more than once: those that are idempotent by their definition, all, or some. */
export type Repeatable = "idempotent" | "all" | ((method: Method) => boolean)

export const repeats = (repeatable: Repeatable): ((method: Method) => boolean) => {
  if (repeatable === "all") return () => true
  return repeatable === "idempotent" ? ({ idempotency }) => idempotency !== "unknown" : repeatable
}

/** What came for an attempt. It shows in the call's own response once the attempt is committed, and when it is the last. */
class AttemptResponse implements ResponseMetadata {
  private readonly call: ResponseMetadata
  private itsHeader = Metadata.empty
  private itsTrailer = Metadata.empty
  private isCommitted = false

  constructor(call: ResponseMetadata) {
    this.call = call
  }

  get header() {
    return this.itsHeader
  }

  set header(header) {
    this.itsHeader = header
    if (this.isCommitted) this.call.header = header
  }

  get trailer() {
    return this.itsTrailer
  }

  set trailer(trailer) {
    this.itsTrailer = trailer
    if (this.isCommitted) this.call.trailer = trailer
  }

  get committed() {
    return this.isCommitted
  }

  set committed(committed) {
    this.isCommitted = committed
    if (committed) this.show()
  }

  show(): void {
    this.call.header = this.itsHeader
    this.call.trailer = this.itsTrailer
    this.call.committed = this.isCommitted
  }
}

export interface Attempt extends CallInfo {
  readonly response: AttemptResponse
}

const previousKey = "grpc-previous-rpc-attempts"

/** An attempt at a call, which tells the server how many came before. */
export const attempt = (call: CallInfo, previous: number): Attempt => ({
  ...call,
  metadata:
    previous === 0
      ? call.metadata
      : [...call.metadata.filter(([key]) => key !== previousKey), [previousKey, String(previous)]],
  response: new AttemptResponse(call.response),
})

const pushbackPattern = /^(0|-?[1-9][0-9]*)$/

/**
 * When the server wants the next attempt, in milliseconds from now; `never` if it wants none, and if what it says can't be
 * read; `undefined` if it doesn't say.
 */
export const pushback = ({ metadata }: RpcError): number | "never" | undefined => {
  const values = Metadata.getAll(metadata, "grpc-retry-pushback-ms")
  if (values.length === 0) return undefined
  const [value] = values
  if (values.length > 1 || typeof value !== "string" || !pushbackPattern.test(value)) return "never"
  const millis = Number(value)
  return millis >= 0 && millis < 2 ** 31 ? millis : "never"
}

/**
 * The error of a call that its deadline has ended, with what the attempts before met: that its time was over is seldom why it
 * failed. Other errors stay as they are.
 *
 * Source: grpc-go, which appends the last error of a connection to the error of a context.
 */
export const explained = ({ method, response: { met } }: CallInfo, error: RpcError): RpcError => {
  if (met === undefined || error.code !== "deadline_exceeded" || error.cause === met.last) return error
  const { attempts, last } = met
  const failed = attempts === 1 ? "an attempt failed" : `${attempts} attempts failed, the last`
  const message = `${error.message} (${failed} with ${last.code}: ${last.message})`
  return changed(error, { message, method: path(method).slice(1), cause: last })
}

/** The error that a call failed with; `undefined` where it did anything else, an interrupt or a defect among it. */
export const failure = (exit: Exit.Exit<unknown, RpcError>): RpcError | undefined =>
  exit._tag === "Success" || Cause.hasDies(exit.cause) || Cause.hasInterrupts(exit.cause)
    ? undefined
    : Option.getOrUndefined(Cause.findErrorOption(exit.cause))
