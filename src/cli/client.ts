/**
 * What the commands that call a server have in common: their flags, and the client that the flags describe.
 */
import { Console, type Duration, Effect, Exit, identity, Option, Record, Result, Schedule, Stream } from "effect"
import { CliError, Flag } from "effect/cli"
import { deadline } from "../core/layers/deadline.ts"
import { type CallLayer, intercept } from "../core/layers/intercept.ts"
import { metadata } from "../core/layers/metadata.ts"
import { defaultBackoff, retry } from "../core/layers/retry.ts"
import { serviceConfig } from "../core/layers/serviceConfig.ts"
import * as Backoff from "../core/rpc/backoff.ts"
import { path } from "../core/rpc/call.ts"
import { changed } from "../core/rpc/error.ts"
import * as Metadata from "../core/rpc/metadata.ts"
import { escaped } from "../core/rpc/printable.ts"
import * as ServiceConfig from "../core/rpc/serviceConfig.ts"
import { type Channel, connect, protocols } from "../transport/channel.ts"
import * as Client from "../transport/client.ts"
import { PiCalculator } from "../transport/gen/pi_pb.ts"
import { compression, encodings } from "../transport/layers/compression.ts"
import type { DescService } from "../transport/method.ts"
import { type DiscoveryFlags, discovered, discoveryFlags } from "./discovery.ts"
import { durationFlag, positiveDurationFlag } from "./duration.ts"
import { metadataLines, UsageError } from "./failure.ts"
import { fileFlag, readFile } from "./file.ts"
import { Hint, hintFor, inFlags } from "./hint.ts"
import { numberFlag } from "./number.ts"
import { type ClientTlsFlags, clientTlsFlags, readClientTls } from "./tls.ts"
import { when } from "./when.ts"

const header = Flag.String("header").pipe(
  Flag.withAlias("H"),
  Flag.withMetavar("key:value"),
  Flag.withDescription("Metadata to send; may be given more than once"),
  Flag.mapEffect((text) => {
    const invalid = (expected: string) =>
      Effect.fail(new CliError.InvalidValue({ option: "header", value: text, expected, kind: "flag" }))
    const colon = text.indexOf(":")
    if (colon < 1) return invalid("key:value, such as x-user:ada")
    const key = text.slice(0, colon).trim()
    const value = text.slice(colon + 1).trim()
    return Result.match(Metadata.make([[key, key.endsWith("-bin") ? Buffer.from(value, "base64") : value]]), {
      onFailure: ({ message }) => invalid(`metadata that can be sent: ${message}`),
      onSuccess: Effect.succeed,
    })
  }),
  Flag.between(0, 100),
  Flag.map((headers) => headers.flat()),
)

// Together they come through the restart of a server: the waits before the last attempt add up to 11 seconds.
const usualAttempts = 8
const backoff = Backoff.schedule(defaultBackoff)

const usualAddress = "http://127.0.0.1:8080"

export const clientFlags = {
  address: Flag.String("address").pipe(
    Flag.withDescription(`Where the server is; ${usualAddress} by default`),
    Flag.withMetavar("url"),
    Flag.optional,
  ),
  ...discoveryFlags,
  protocol: Flag.Literals("protocol", protocols).pipe(
    Flag.withDescription("What to speak to it"),
    Flag.withDefault("grpc"),
  ),
  httpVersion: Flag.Literals("http-version", ["1.1", "2"]).pipe(
    Flag.withDescription("What carries the calls; 1.1 with --protocol connect or grpc-web alone"),
    Flag.withDefault("2"),
  ),
  deadline: durationFlag("deadline").pipe(
    Flag.withDescription("How long a call may take, such as 5s; no limit by default"),
    Flag.optional,
  ),
  compress: Flag.Literals(
    "compress",
    encodings.map(({ name }) => name),
  ).pipe(Flag.withDescription("Compress requests, and accept compressed answers"), Flag.optional),
  header,
  attempts: numberFlag("attempts", { min: 1, max: 100 }).pipe(
    Flag.withDescription(
      `How often to try a call that may be repeated while the server is unavailable; 1 for once only (default: ${usualAttempts}, or what --service-config says)`,
    ),
    Flag.optional,
  ),
  waitForReady: Flag.Boolean("wait-for-ready").pipe(
    Flag.withDescription("Wait for a server that can't be reached, as long as the deadline allows"),
    Flag.withDefault(false),
  ),
  keepaliveTime: positiveDurationFlag("keepalive-time").pipe(
    Flag.withDescription(
      "Ask a server that was silent for so long, while a call runs, whether it is there; 10m by default",
    ),
    Flag.optional,
  ),
  serviceConfig: fileFlag("service-config").pipe(
    Flag.withDescription("Call as this service config says: gRPC's, in JSON"),
    Flag.optional,
  ),
  ...clientTlsFlags,
  verbose: Flag.Boolean("verbose").pipe(
    Flag.withAlias("v"),
    Flag.withDescription(
      "Show each attempt of a call, with what is sent and received beside its messages, on standard error",
    ),
    Flag.withDefault(false),
  ),
} as const

export interface ClientOptions extends ClientTlsFlags, DiscoveryFlags {
  readonly protocol: (typeof protocols)[number]
  readonly httpVersion: "1.1" | "2"
  readonly deadline: Option.Option<Parameters<typeof deadline>[0]>
  readonly compress: Option.Option<string>
  readonly header: Metadata.Metadata
  readonly attempts: Option.Option<number>
  readonly waitForReady: boolean
  readonly keepaliveTime: Option.Option<Duration.Duration>
  readonly serviceConfig: Option.Option<string>
  readonly verbose: boolean
}

const say = (lines: ReadonlyArray<string>) => Effect.forEach(lines, (line) => Console.error(line), { discard: true })

/** Prints what goes and comes beside the messages of each attempt. */
const verbosely: CallLayer = intercept((call, next) =>
  Effect.andThen(
    say([path(call.method), ...metadataLines(call.metadata)].map((line) => `> ${line}`)),
    Effect.onExit(next(call), (exit) => {
      const error = Option.getOrUndefined(Exit.findErrorOption(exit))
      return say([
        ...metadataLines(call.response.header).map((line) => `< ${line}`),
        ...metadataLines(call.response.trailer).map((line) => `< ${line} (trailer)`),
        ...(error === undefined ? [] : [`< ${error.code}: ${escaped(error.message)}`]),
      ])
    }),
  ),
)

/** Says with an error what can be done about it. */
const hinted = ({ discover, address }: ClientOptions): CallLayer => {
  const sought = { discover, address: Option.getOrElse(address, () => usualAddress) }
  return intercept((call, next) =>
    Effect.mapError(next(call), (error) => {
      const text = hintFor(error, sought)
      const { message, cause } = error
      return changed(error, {
        message: inFlags(message),
        cause: text === undefined ? cause : new Hint({ text, cause }),
      })
    }),
  )
}

const readServiceConfig = Effect.fnUntraced(function* (path: string) {
  const text = yield* readFile("--service-config", path)
  return yield* Effect.mapError(
    Effect.fromResult(ServiceConfig.parse(text)),
    ({ message }) => new UsageError({ message: `--service-config ${path}: ${message}` }),
  )
})

/** A layer that tries again, if the server has ever been there: nobody wants to wait for a wrong address. */
const persevering = Effect.fnUntraced(function* ({ connector }: Channel, maxAttempts: number) {
  const { changes } = connector.connectivity
  const reached = yield* Effect.forkScoped(Stream.runHead(Stream.filter(changes, (state) => state === "ready")))
  const schedule = Schedule.while(backoff, () => Effect.sync(() => reached.pollUnsafe() !== undefined))
  return retry({ maxAttempts, schedule })
})

const channel = Effect.fnUntraced(function* (options: ClientOptions) {
  const { protocol, waitForReady, httpVersion } = options
  if (httpVersion === "1.1" && protocol === "grpc") {
    return yield* new UsageError({
      message: "--http-version 1.1 needs --protocol connect or grpc-web: gRPC is HTTP/2 always",
    })
  }
  const tls = yield* readClientTls(options)
  const config = yield* Effect.transposeOption(Option.map(options.serviceConfig, readServiceConfig))
  const attempts = Option.getOrElse(options.attempts, () => (Option.isSome(config) ? 1 : usualAttempts))
  const keepalive = Record.getSomes({ time: options.keepaliveTime })
  const connecting = { protocol, waitForReady, httpVersion, keepalive, ...(tls && { tls }) }
  const opened: Channel =
    (yield* discovered(options, connecting)) ??
    (yield* connect(
      Option.getOrElse(options.address, () => usualAddress),
      connecting,
    ))
  // Compressed even when small: who asks for it on the command line wants to see it.
  const preferred = (name: string) => encodings.toSorted((a) => (a.name === name ? -1 : 0))
  return opened.pipe(
    // Innermost, so that it sees all that is sent.
    options.verbose ? verbosely : identity,
    attempts === 1 ? identity : yield* persevering(opened, attempts),
    Option.isSome(config) ? serviceConfig(config.value) : identity,
    hinted(options),
    when(options.deadline, deadline),
    when(options.compress, (name) => compression(preferred(name), { minBytes: 0 })),
    metadata(options.header),
  )
})

/** A client of a service as the flags describe it; it ends with its scope. */
export const clientOf = <D extends DescService>(descriptor: D, options: ClientOptions) =>
  Effect.map(channel(options), (opened) => Client.make(descriptor, opened))

/** A client of the calculator. */
export const piClient = (options: ClientOptions) => clientOf(PiCalculator, options)
