/**
 * `basel serve`: the calculator on a port.
 */
import { Console, Duration, Effect, identity, Option, pipe, Random, Record } from "effect"
import { Command, Flag } from "effect/cli"
import * as Health from "../core/health/health.ts"
import { concurrencyLimit } from "../core/layers/concurrencyLimit.ts"
import { deadline } from "../core/layers/deadline.ts"
import { delay } from "../core/layers/delay.ts"
import { type CallLayer, intercept } from "../core/layers/intercept.ts"
import { tracing } from "../core/layers/tracing.ts"
import * as Calculator from "../core/pi/calculator.ts"
import * as Journal from "../core/pi/journal.ts"
import { closedForm, summation } from "../core/pi/series.ts"
import { escaped } from "../core/rpc/printable.ts"
import { PiCalculator } from "../transport/gen/pi_pb.ts"
import { PiCalculator as StreamingPiCalculator } from "../transport/gen/streaming/pi_pb.ts"
import { healthService } from "../transport/health.ts"
import { compression, encodings } from "../transport/layers/compression.ts"
import { serve as listenAndServe } from "../transport/server.ts"
import * as Service from "../transport/service.ts"
import { type RegistrationFlags, registering, registrationFlags, unregistered } from "./discovery.ts"
import { durationFlag, positiveDurationFlag } from "./duration.ts"
import { numberFlag } from "./number.ts"
import { self, word } from "./self.ts"
import { type CacheFlags, type Caching, cacheFlags, caching, uncached } from "./store.ts"
import { readTls, type TlsFlags, tlsFlags } from "./tls.ts"
import { when } from "./when.ts"
import { type WorkersFlags, work, workers, workersFlags } from "./workers.ts"

const flags = {
  host: Flag.String("host").pipe(Flag.withDescription("The address to listen on"), Flag.withDefault("127.0.0.1")),
  port: numberFlag("port", { of: "a port", min: 0, max: 65_535 }).pipe(
    Flag.withDescription("The port to listen on; 0 for any that is free"),
    Flag.withDefault(8080),
  ),
  streaming: Flag.Boolean("streaming").pipe(
    Flag.withDescription("Serve the tutorial's streaming edition, proto/streaming/pi.proto"),
    Flag.withDefault(false),
  ),
  delay: durationFlag("delay").pipe(Flag.withDescription("Wait before each call, such as 10ms"), Flag.optional),
  seed: Flag.String("seed").pipe(
    Flag.withDescription("Skip the same requests of every stream, as this text decides"),
    Flag.optional,
  ),
  summation: Flag.Boolean("summation").pipe(
    Flag.withDescription("Sum the series term by term, as the tutorial does"),
    Flag.withDefault(false),
  ),
  grace: durationFlag("grace").pipe(
    Flag.withDescription("How long running calls may go on after Ctrl-C"),
    Flag.withDefault(Duration.seconds(10)),
  ),
  drainDelay: durationFlag("drain-delay").pipe(
    Flag.withDescription(
      "How long to go on serving after Ctrl-C with a health of NOT_SERVING, so that proxies that ask for it send calls elsewhere",
    ),
    Flag.withDefault(Duration.zero),
  ),
  log: Flag.Boolean("log").pipe(Flag.withDescription("Log each call's status and cost"), Flag.withDefault(false)),
  ...workersFlags,
  ...registrationFlags,
  ...cacheFlags,
  ...tlsFlags,
  maxConnections: numberFlag("max-connections", { min: 1 }).pipe(
    Flag.withDescription(
      "Close further connections than these, in each worker; by default nine tenths of ulimit -n, and 65536 at most",
    ),
    Flag.optional,
  ),
  peerShare: numberFlag("peer-share", { of: "a percentage", min: 1, max: 100 }).pipe(
    Flag.withDescription(
      "How much of all connections, calls and memory one address may have, in percent; give 100 behind a proxy; 25 by default",
    ),
    Flag.optional,
  ),
  keepaliveTime: positiveDurationFlag("keepalive-time").pipe(
    Flag.withDescription("Ask a client that was silent for so long whether it is there; 2h by default"),
    Flag.optional,
  ),
  keepaliveTimeout: positiveDurationFlag("keepalive-timeout").pipe(
    Flag.withDescription("How long it then has to answer; 20s by default"),
    Flag.optional,
  ),
  maxConnectionIdle: positiveDurationFlag("max-connection-idle").pipe(
    Flag.withDescription("Drain a connection without a running call for so long; no limit by default"),
    Flag.optional,
  ),
  maxConnectionAge: positiveDurationFlag("max-connection-age").pipe(
    Flag.withDescription("Drain each connection after so long, 10 % more or less; no limit by default"),
    Flag.optional,
  ),
  maxConnectionAgeGrace: durationFlag("max-connection-age-grace").pipe(
    Flag.withDescription("How long its calls may then go on; no limit by default"),
    Flag.optional,
  ),
} as const

export interface ServeFlags extends TlsFlags, CacheFlags, RegistrationFlags, WorkersFlags {
  readonly host: string
  readonly port: number
  readonly streaming: boolean
  readonly delay: Option.Option<Duration.Duration>
  readonly seed: Option.Option<string>
  readonly summation: boolean
  readonly grace: Duration.Duration
  readonly drainDelay: Duration.Duration
  readonly log: boolean
  readonly maxConnections: Option.Option<number>
  readonly peerShare: Option.Option<number>
  readonly keepaliveTime: Option.Option<Duration.Duration>
  readonly keepaliveTimeout: Option.Option<Duration.Duration>
  readonly maxConnectionIdle: Option.Option<Duration.Duration>
  readonly maxConnectionAge: Option.Option<Duration.Duration>
  readonly maxConnectionAgeGrace: Option.Option<Duration.Duration>
}

export const defaults: ServeFlags = {
  host: "127.0.0.1",
  port: 8080,
  streaming: false,
  delay: Option.none(),
  seed: Option.none(),
  summation: false,
  grace: Duration.seconds(10),
  drainDelay: Duration.zero,
  log: false,
  workers: 1,
  worker: Option.none(),
  ...unregistered,
  ...uncached,
  cert: Option.none(),
  key: Option.none(),
  clientCa: Option.none(),
  maxConnections: Option.none(),
  peerShare: Option.none(),
  keepaliveTime: Option.none(),
  keepaliveTimeout: Option.none(),
  maxConnectionIdle: Option.none(),
  maxConnectionAge: Option.none(),
  maxConnectionAgeGrace: Option.none(),
}

/** Draws the same numbers in every call. */
const seeded = (seed: string): CallLayer => intercept((call, next) => Random.withSeed(next(call), seed))

const keep = ({ time, level, text }: Journal.Entry): Effect.Effect<void> =>
  // JSON, so that no text can pass for a line of our own.
  Effect.logInfo(`report ${escaped(JSON.stringify({ level, text, ...(time === undefined ? {} : { time }) }))}`)

const shareOf = ({ peerShare }: ServeFlags): { readonly peerShare?: number } =>
  Record.getSomes({ peerShare: Option.map(peerShare, (percent) => percent / 100) })

const limited =
  (options: ServeFlags): CallLayer =>
  (service) =>
    pipe(
      service,
      concurrencyLimit(10_000, shareOf(options)),
      options.log ? tracing({ log: true }) : identity,
      compression(encodings),
    )

// The order is outward: what is cached isn't delayed, the limits hold for both, and a refused call is logged.
const layers =
  (options: ServeFlags, { layer }: Caching) =>
  <D, R>(service: Service.Service<D, R>) =>
    pipe(
      service,
      when(options.seed, seeded),
      when(options.delay, delay),
      layer,
      deadline({ max: "10 minutes" }),
      limited(options),
    )

const commands = (url: string, { streaming, cache, cert, clientCa }: ServeFlags): ReadonlyArray<string> => {
  const { host } = new URL(url)
  // A certificate is its own authority to curl and grpcurl, whoever signed it.
  const trusted = Option.map(cert, word)
  const identity = (dash: string) => (Option.isSome(clientCa) ? ` ${dash}cert client.pem ${dash}key client.key` : "")
  const trust = Option.match(trusted, {
    onNone: () => "-plaintext",
    onSome: (file) => `-cacert ${file}${identity("-")}`,
  })
  const curl = Option.match(trusted, {
    onNone: () => "curl",
    onSome: (file) => `curl --cacert ${file}${identity("--")}`,
  })
  const grpcurl = (folder: string) =>
    `grpcurl ${trust} -import-path ${folder} -proto pi.proto -d '{"n":999}' ${host} pi.PiCalculator/Calc`
  const ours = (...args: ReadonlyArray<string>) =>
    // It would have to be told the authority, which the server does not know.
    Option.isSome(cert) ? [] : [self(...args, "--address", url)]
  const caching = Option.isSome(cache) ? ours("cache", "set", "greeting", "hello") : []
  if (streaming) return [grpcurl("proto/streaming"), ...caching]
  return [
    grpcurl("proto"),
    `${curl} -d '{"n":999}' -H 'content-type: application/json' ${url}/pi.PiCalculator/Calc`,
    ...caching,
    ...ours("calc", "1..10"),
  ]
}

/** The calculator on a port, as the flags say, until the scope closes. */
export const listening = Effect.fnUntraced(function* (options: ServeFlags) {
  const journal = yield* Journal.open(keep)
  const programs = Calculator.make({ journal, series: options.summation ? summation : closedForm })
  const cache = yield* caching(options, options.summation ? "/summation" : "")
  const around = layers(options, cache)
  const service = options.streaming
    ? around(Service.make(StreamingPiCalculator, { calc: programs.calcStream }))
    : around(Service.make(PiCalculator, programs))
  const health = Health.make([service, ...cache.services].map(({ descriptor }) => descriptor.typeName))
  const tls = yield* readTls(options)
  const { host, port, grace, worker } = options
  const server = yield* listenAndServe([service, ...cache.services.map(limited(options)), healthService(health)], {
    host,
    port: Option.getOrElse(worker, () => port),
    reusePort: Option.isSome(worker),
    grace,
    ...(tls === undefined ? {} : { tls }),
    ...Record.getSomes({ maxConnections: options.maxConnections }),
    ...shareOf(options),
    memory: shareOf(options),
    keepalive: Record.getSomes({ time: options.keepaliveTime, timeout: options.keepaliveTimeout }),
    connection: Record.getSomes({
      maxIdle: options.maxConnectionIdle,
      maxAge: options.maxConnectionAge,
      maxAgeGrace: options.maxConnectionAgeGrace,
    }),
  })
  // Before the server drains: those that watch are told while there are streams to tell it in, and those that ask now and
  // then have the time to ask.
  yield* Effect.addFinalizer(() => Effect.andThen(health.shutdown, Effect.sleep(options.drainDelay)))
  return server
})

/** The same in as many processes as the flags say. */
const listeningInAll = Effect.fnUntraced(function* (options: ServeFlags) {
  if (options.workers === 1) return yield* listening(options)
  // What is wrong with the files is told once, by this process.
  yield* readTls(options)
  return yield* workers({ ...options, count: options.workers }, listening(options))
})

const run = Effect.fnUntraced(function* (options: ServeFlags) {
  if (Option.isSome(options.worker)) return yield* work(listening(options))
  // The last to run: all has drained by then. A signal that comes before it listens ends it without a farewell.
  yield* Effect.addFinalizer(() => (process.exitCode === 0 ? Console.log("drained, bye") : Effect.void))
  const register = yield* registering(options)
  const { url } = yield* listeningInAll(options)
  yield* Console.log(`basel serves pi.PiCalculator on ${url}: gRPC, gRPC-Web, Connect and JSON. Try:`)
  yield* Effect.forEach(commands(url, options), (command) => Console.log(`  ${command}`), { discard: true })
  // By the parent alone, once for all workers; out again before they drain.
  yield* register(url)
  // From here on a signal is how this ends, and no failure.
  process.exitCode = 0
  return yield* Effect.never
}, Effect.scoped)

/** What the command does without any argument. */
export const serveByDefault = run(defaults)

export const serve = Command.make("serve", flags, run).pipe(
  Command.withDescription("Serve the calculator; this is what happens without a command, too"),
  Command.withExamples([
    { command: "basel serve --port 9000 --delay 10ms", description: "Another port, and each call takes 10 ms more" },
    { command: "basel serve --workers auto", description: "A process for each core, on one port" },
    { command: "basel serve --cert server.pem --key server.key", description: "Over TLS, for gRPC and HTTPS alike" },
    { command: "basel serve --etcd http://127.0.0.1:2379 --name pi", description: "Where clients can discover it" },
    { command: "basel serve --delay 10ms --cache memory", description: "No call waits twice; with a cache of its own" },
    { command: "basel serve --streaming --seed 7", description: "The tutorial's streaming edition, always the same" },
  ]),
)
