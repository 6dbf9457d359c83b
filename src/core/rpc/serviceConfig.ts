/**
 * gRPC's service config: what the owner of a service says of how it is to be called, in its JSON form.
 *
 * Sources: grpc/doc/service_config.md; grpc-proto's service_config.proto; gRPC's proposal A6, for what is valid.
 */
import { Data, Duration, Result } from "effect"
import type { Backoff } from "./backoff.ts"
import { type Method, path } from "./call.ts"
import { type Code, fromName, names, type Status } from "./status.ts"
import type { ThrottleOptions } from "./throttle.ts"

/** A service config that can't be obeyed. The message says where it is wrong, and what is allowed there. */
export class ServiceConfigError extends Data.TaggedError("ServiceConfigError")<{
  /** Where in the JSON, such as `methodConfig[0].retryPolicy.maxAttempts`; empty for all of it. */
  readonly path: string
  readonly message: string
}> {}

/** What holds for some methods. What isn't there was not said. */
export interface MethodConfig {
  /** How long a call may take, unless its caller wants it sooner. */
  readonly timeout: Duration.Duration | undefined
  /** Whether a call waits for a server that can't be reached now, unless its caller says so itself. */
  readonly waitForReady: boolean | undefined
  /** It and `hedgingPolicy` exclude each other. */
  readonly retryPolicy:
    | { readonly maxAttempts: number; readonly backoff: Backoff; readonly codes: ReadonlyArray<Code> }
    | undefined
  readonly hedgingPolicy:
    | { readonly maxAttempts: number; readonly delay: Duration.Duration; readonly nonFatal: ReadonlyArray<Code> }
    | undefined
  readonly maxRequestMessageBytes: number | undefined
  readonly maxResponseMessageBytes: number | undefined
}

export interface ServiceConfig {
  /** By `/service/method`, by `/service/` for the rest of a service, and by the empty text for all other methods. */
  readonly methods: ReadonlyMap<string, MethodConfig>
  readonly retryThrottling: ThrottleOptions | undefined
}

/** What holds for a method: what is said of itself, else of its service, else of all. */
export const methodConfig = ({ methods }: ServiceConfig, method: Method): MethodConfig | undefined =>
  methods.get(path(method)) ?? methods.get(`/${method.service}/`) ?? methods.get("")

type Read<A> = (value: unknown, at: string) => Result.Result<A, ServiceConfigError>

const fail = (path: string, message: string) =>
  Result.fail(new ServiceConfigError({ path, message: `${path === "" ? "the service config" : path} ${message}` }))

/** Reads a value that is one of those that `allowed` says in words. */
const value =
  <A>(allowed: string, read: (value: unknown) => A | undefined): Read<A> =>
  (given, at) => {
    const made = read(given)
    if (made !== undefined) return Result.succeed(made)
    return fail(at, given === undefined ? `is missing: give ${allowed}` : `is ${shown(given)}: give ${allowed}`)
  }

// As much of it as helps to find it.
const shown = (given: unknown): string => {
  const json = JSON.stringify(given) ?? String(given)
  return json.length > 60 ? `${json.slice(0, 60)}…` : json
}

const isAbsent = (given: unknown): given is null | undefined => given === undefined || given === null

// In protobuf's JSON form null is the same as nothing.
const optional =
  <A>(read: Read<A>): Read<A | undefined> =>
  (given, at) =>
    isAbsent(given) ? Result.succeed(undefined) : read(given, at)

type Fields = { readonly [key: string]: unknown }

const isFields = (given: unknown): given is Fields =>
  typeof given === "object" && given !== null && !Array.isArray(given)

const object = value("an object", (given) => (isFields(given) ? given : undefined))

const list =
  <A>(read: Read<A>): Read<ReadonlyArray<A>> =>
  (given, at) =>
    Result.gen(function* () {
      const items = yield* value("a list", (one) => (Array.isArray(one) ? (one as ReadonlyArray<unknown>) : undefined))(
        given,
        at,
      )
      const made: Array<A> = []
      for (const [index, item] of items.entries()) made.push(yield* read(item, `${at}[${index}]`))
      return made
    })

const number = (allowed: string, isAllowed: (number: number) => boolean): Read<number> =>
  value(allowed, (given) => (typeof given === "number" && isAllowed(given) ? given : undefined))

const boolean = value("true or false", (given) => (typeof given === "boolean" ? given : undefined))
const text = value("a text", (given) => (typeof given === "string" ? given : undefined))
const bytes = number("an integer of 0 or more", (given) => Number.isInteger(given) && given >= 0)

const durationPattern = /^[0-9]{1,12}(\.[0-9]{1,9})?s$/

const durationOf = (given: unknown): number | undefined =>
  typeof given === "string" && durationPattern.test(given) ? Number(given.slice(0, -1)) * 1_000 : undefined

const duration = value('a time such as "1.5s"', (given) => {
  const millis = durationOf(given)
  return millis === undefined ? undefined : Duration.millis(millis)
})

const backoffTime = value('a time longer than none, such as "0.1s"', (given) => {
  const millis = durationOf(given)
  return millis === undefined || millis === 0 ? undefined : Duration.millis(millis)
})

const status = value<Status>('one of gRPC\'s status codes, such as "UNAVAILABLE" or 14', (given) =>
  typeof given === "number" ? names[given] : typeof given === "string" ? fromName(given) : undefined,
)

// A call that was ok is none that failed, whatever the config says.
const errors = (statuses: ReadonlyArray<Status>): ReadonlyArray<Code> =>
  statuses.filter((one): one is Code => one !== "ok")

/** More are allowed, and mean as many as this. */
const mostAttempts = 5

const maxAttempts: Read<number> = (given, at) =>
  Result.map(number("an integer greater than 1", (one) => Number.isInteger(one) && one > 1)(given, at), (attempts) =>
    Math.min(attempts, mostAttempts),
  )

const retryPolicy: Read<MethodConfig["retryPolicy"]> = (given, at) =>
  Result.gen(function* () {
    const fields = yield* object(given, at)
    const attempts = yield* maxAttempts(fields.maxAttempts, `${at}.maxAttempts`)
    const initial = yield* backoffTime(fields.initialBackoff, `${at}.initialBackoff`)
    const max = yield* backoffTime(fields.maxBackoff, `${at}.maxBackoff`)
    const multiplier = yield* number("a number greater than 0", (one) => one > 0)(
      fields.backoffMultiplier,
      `${at}.backoffMultiplier`,
    )
    const codesAt = `${at}.retryableStatusCodes`
    const codes = yield* list(status)(fields.retryableStatusCodes, codesAt)
    if (codes.length === 0) return yield* fail(codesAt, "is empty: give at least one status code")
    return { maxAttempts: attempts, backoff: { initial, multiplier, max, jitter: 0.2 }, codes: errors(codes) }
  })

const hedgingPolicy: Read<MethodConfig["hedgingPolicy"]> = (given, at) =>
  Result.gen(function* () {
    const fields = yield* object(given, at)
    return {
      maxAttempts: yield* maxAttempts(fields.maxAttempts, `${at}.maxAttempts`),
      delay: (yield* optional(duration)(fields.hedgingDelay, `${at}.hedgingDelay`)) ?? Duration.zero,
      nonFatal: errors((yield* optional(list(status))(fields.nonFatalStatusCodes, `${at}.nonFatalStatusCodes`)) ?? []),
    }
  })

const throttling: Read<ThrottleOptions> = (given, at) =>
  Result.gen(function* () {
    const fields = yield* object(given, at)
    return {
      maxTokens: yield* number("a number greater than 0, of at most 1000", (one) => one > 0 && one <= 1_000)(
        fields.maxTokens,
        `${at}.maxTokens`,
      ),
      tokenRatio: yield* number("a number greater than 0", (one) => one > 0)(fields.tokenRatio, `${at}.tokenRatio`),
    }
  })

/** The key of a name in `ServiceConfig.methods`. */
const name: Read<string> = (given, at) =>
  Result.gen(function* () {
    const fields = yield* object(given, at)
    const service = (yield* optional(text)(fields.service, `${at}.service`)) ?? ""
    const method = (yield* optional(text)(fields.method, `${at}.method`)) ?? ""
    if (service !== "") return `/${service}/${method}`
    return method === "" ? "" : yield* fail(at, "has a method but no service: give both, only the service, or neither")
  })

const method: Read<readonly [names: ReadonlyArray<string>, config: MethodConfig]> = (given, at) =>
  Result.gen(function* () {
    const fields = yield* object(given, at)
    const names = (yield* optional(list(name))(fields.name, `${at}.name`)) ?? []
    if (!isAbsent(fields.retryPolicy) && !isAbsent(fields.hedgingPolicy)) {
      return yield* fail(at, "has a retryPolicy and a hedgingPolicy: give one of them at most")
    }
    const config: MethodConfig = {
      timeout: yield* optional(duration)(fields.timeout, `${at}.timeout`),
      waitForReady: yield* optional(boolean)(fields.waitForReady, `${at}.waitForReady`),
      retryPolicy: yield* optional(retryPolicy)(fields.retryPolicy, `${at}.retryPolicy`),
      hedgingPolicy: yield* optional(hedgingPolicy)(fields.hedgingPolicy, `${at}.hedgingPolicy`),
      maxRequestMessageBytes: yield* optional(bytes)(fields.maxRequestMessageBytes, `${at}.maxRequestMessageBytes`),
      maxResponseMessageBytes: yield* optional(bytes)(fields.maxResponseMessageBytes, `${at}.maxResponseMessageBytes`),
    }
    return [names, config] as const
  })

const json = (input: string): Result.Result<unknown, ServiceConfigError> =>
  Result.try({
    try: (): unknown => JSON.parse(input),
    catch: (error) => new ServiceConfigError({ path: "", message: `the service config is no JSON: ${error}` }),
  })

/**
 * Reads a service config, as text or as what JSON's text says. It fails with the first thing that is wrong. What it says
 * of load balancing and health checks is left out, as is every field that isn't known.
 *
 * @example
 * const config = ServiceConfig.parse(`{ "methodConfig": [{ "name": [{ "service": "pi.PiCalculator" }], "timeout": "5s" }] }`)
 */
export const parse = (input: string | object): Result.Result<ServiceConfig, ServiceConfigError> =>
  Result.gen(function* () {
    const fields = yield* object(typeof input === "string" ? yield* json(input) : input, "")
    const methods = new Map<string, MethodConfig>()
    const given = (yield* optional(list(method))(fields.methodConfig, "methodConfig")) ?? []
    for (const [index, [names, config]] of given.entries()) {
      for (const [at, key] of names.entries()) {
        if (methods.has(key)) {
          return yield* fail(`methodConfig[${index}].name[${at}]`, "was there before: give each name only once")
        }
        methods.set(key, config)
      }
    }
    return { methods, retryThrottling: yield* optional(throttling)(fields.retryThrottling, "retryThrottling") }
  })
