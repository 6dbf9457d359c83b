/**
 * The calculator: the five programs of `pi.PiCalculator`, and the one of the tutorial's streaming edition.
 */
import { Array as Arr, Cause, Effect, Stream } from "effect"
import { badRequest, errorInfo } from "../rpc/details.ts"
import { RpcError } from "../rpc/error.ts"
import { mapReady } from "../rpc/ready.ts"
import { type Journal, type Level, levels } from "./journal.ts"
import { type Policy, skipHalf } from "./policy.ts"
import { closedForm, type Series } from "./series.ts"

// The messages of proto/pi.proto as far as the programs look at them.
export interface PiRequest {
  readonly n: number
}
export interface PiResponse {
  readonly value: number
}
export interface PiPoint extends PiRequest, PiResponse {}
export interface PiRange {
  readonly first: number
  readonly last: number
}
export interface PiSummary {
  readonly count: number
  readonly min: number
  readonly max: number
  readonly meanError: number
}
export interface LogEntry {
  readonly time?: { readonly seconds: bigint; readonly nanos: number } | undefined
  readonly level: string
  readonly text: string
}

export interface CalculatorOptions {
  /** How pi(n) is computed. Default: `closedForm`. */
  readonly series?: Series
  /** Which requests of a stream are answered. Default: `skipHalf`. */
  readonly policy?: Policy
  /** Where reports go. */
  readonly journal: Journal
}

const domain = "pi.PiCalculator"

const invalid = (message: string, field: string, reason: string): RpcError =>
  new RpcError({
    code: "invalid_argument",
    message,
    details: [badRequest([{ field, description: message, reason }]), errorInfo({ reason, domain })],
  })

const notPositive = (field: string): RpcError =>
  invalid("request number should be positive", field, "NUMBER_NOT_POSITIVE")

/** A report's text may have this many characters; what is longer is cut, for a log is no file store. */
export const maxReportLength = 4096

const isLevel = (level: string): level is Level => levels.some((one) => one === level)

// A range gives its numbers in arrays. The first has this length, and each is twice as long as the one before. So the stream of
// a client that reads nothing holds few of them.
const firstAtOnce = 8
const mostAtOnce = 256

const numbers = (first: number, last: number): Stream.Stream<number> =>
  Stream.fromPull(
    Effect.sync(() => {
      let start = first
      let size = firstAtOnce
      return Effect.suspend(() => {
        if (start > last) return Cause.done()
        const some = Arr.range(start, Math.min(start + size - 1, last))
        start += size
        size = Math.min(2 * size, mostAtOnce)
        return Effect.succeed(some)
      })
    }),
  )

/**
 * The programs of the calculator.
 *
 * - `calc`: pi(n) of one request.
 * - `calcStream`: pi(n) of those requests of a stream that the policy lets through, in their order.
 * - `calcRange`: pi(n) for each n of a range, each given as soon as it is computed.
 * - `summarize`: how many requests a stream had, the smallest and the largest pi(n), and the mean of |π − pi(n)|; all
 *   zero for an empty stream.
 * - `report`: hands an entry to the journal and answers at once, whatever becomes of it.
 *
 * A number below 1 fails with `invalid_argument`, in a stream too.
 *
 * @example
 * const { calc } = make({ journal })
 * const program = calc({ n: 999 }) // Effect<{ value: 3.1412740089427… }, RpcError>
 */
export const make = ({ series = closedForm, policy = skipHalf, journal }: CalculatorOptions) => {
  const pi = ({ n }: PiRequest): Effect.Effect<number, RpcError> => (n > 0 ? series(n) : Effect.fail(notPositive("n")))
  const calc = (request: PiRequest): Effect.Effect<PiResponse, RpcError> =>
    Effect.map(pi(request), (value) => ({ value }))
  const point = (request: PiRequest): Effect.Effect<PiPoint, RpcError> =>
    Effect.mapEager(pi(request), (value) => ({ n: request.n, value }))

  const calcStream = (requests: Stream.Stream<PiRequest, RpcError>): Stream.Stream<PiPoint, RpcError> =>
    requests.pipe(
      // Not by a filter, which takes whole arrays: what arrived along with a bad number would go without its answer.
      mapReady((request) =>
        // A bad number ends the stream whether the policy would have skipped it or not: who sent it must hear of it.
        request.n > 0
          ? Effect.flatMap(policy, (answered) => (answered ? point(request) : Effect.undefined))
          : Effect.fail(notPositive("n")),
      ),
      Stream.filter((answer) => answer !== undefined),
    )

  const calcRange = ({ first, last }: PiRange): Stream.Stream<PiPoint, RpcError> => {
    if (first <= 0) return Stream.fail(notPositive("first"))
    if (last < first) {
      return Stream.fail(invalid("the range should not end before its first number", "last", "RANGE_REVERSED"))
    }
    return mapReady((n: number) => point({ n }))(numbers(first, last))
  }

  const summarize = (requests: Stream.Stream<PiRequest, RpcError>): Effect.Effect<PiSummary, RpcError> =>
    Effect.map(
      Stream.runFold(
        mapReady(pi)(requests),
        () => ({ count: 0, min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY, error: 0 }),
        ({ count, min, max, error }, value) => ({
          count: count + 1,
          min: Math.min(min, value),
          max: Math.max(max, value),
          error: error + Math.abs(Math.PI - value),
        }),
      ),
      ({ count, min, max, error }) =>
        count === 0 ? { count, min: 0, max: 0, meanError: 0 } : { count, min, max, meanError: error / count },
    )

  const report = ({ time, level, text }: LogEntry): Effect.Effect<Record<never, never>, RpcError> => {
    const known = level === "" ? "info" : level
    if (!isLevel(known)) {
      return Effect.fail(invalid(`level should be one of ${levels.join(", ")}`, "level", "UNKNOWN_LEVEL"))
    }
    return Effect.as(
      journal.report({
        time: time && Number(time.seconds) * 1000 + time.nanos / 1e6,
        level: known,
        text: text.slice(0, maxReportLength),
      }),
      {},
    )
  }

  return { calc, calcStream, calcRange, summarize, report }
}
