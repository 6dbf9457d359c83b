/**
 * A server in a process of its own, which counts how often it ran each call, by the id that the call brings in its
 * metadata. It takes `serve`'s options as JSON, and how to be registered if it is; it ends in order on SIGTERM, and then
 * says what it has counted.
 *
 * Calls that ask for it are held until SIGUSR2: it says with each how many there were.
 */
import { Console, Deferred, type Duration, Effect, Stream } from "effect"
import { registered } from "../../src/core/discovery/registered.ts"
import { intercept } from "../../src/core/layers/intercept.ts"
import * as Calculator from "../../src/core/pi/calculator.ts"
import { Call } from "../../src/core/rpc/call.ts"
import * as Metadata from "../../src/core/rpc/metadata.ts"
import { etcd } from "../../src/transport/etcd/registry.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { type ServeOptions, serve } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"

/** Where to be registered, as `pi`. */
export interface Registering {
  readonly etcd: string
  readonly ttl: Duration.Input
}

const ran = new Map<string, number>()
let held = 0
const released = Deferred.makeUnsafe<void>()

const hold = Effect.flatMap(Call, ({ metadata }) => {
  if (Metadata.get(metadata, "x-hold") === undefined) return Effect.void
  return Effect.andThen(Console.log(`holds ${++held}.`), Deferred.await(released))
})

const counted = intercept((call, next) =>
  Effect.suspend(() => {
    const id = Metadata.get(call.metadata, "x-id")
    if (typeof id === "string") ran.set(id, (ran.get(id) ?? 0) + 1)
    if (ran.size === 1) process.stdout.write("runs\n")
    return next(call)
  }),
)

const programs = Calculator.make({ policy: Effect.succeed(true), journal: { report: () => Effect.succeed(true) } })

const service = Service.make(PiCalculator, {
  ...programs,
  calc: (request) => Effect.andThen(hold, programs.calc(request)),
  report: () => Effect.as(hold, {}),
  // Held, a stream has given all that it has and doesn't end.
  calcRange: (range) => Stream.concat(programs.calcRange(range), Stream.fromEffectDrain(hold)),
}).pipe(counted)

const program = Effect.gen(function* () {
  const { port } = yield* serve(service, JSON.parse(process.argv[2] ?? "{}") as ServeOptions)
  yield* Console.log(`port ${port}.`)
  const registering = JSON.parse(process.argv[3] ?? "null") as Registering | null
  if (registering !== null) {
    const registry = yield* etcd(registering.etcd)
    yield* registered(registry, "pi", { address: `127.0.0.1:${port}` }, registering)
  }
  return yield* Effect.never
})

const release = () => Deferred.doneUnsafe(released, Effect.void)
process.on("SIGUSR2", release)

const fiber = Effect.runFork(
  Effect.ensuring(
    Effect.scoped(program),
    Effect.sync(() => {
      process.off("SIGUSR2", release)
      process.stdout.write(`ran ${JSON.stringify([...ran])}\n`)
    }),
  ),
)
process.once("SIGTERM", () => fiber.interruptUnsafe())
