/**
 * Does all that takes its time, in a process whose wall clock is set back or forth by an hour while it does. It prints as
 * JSON what came of each.
 */
import * as net from "node:net"
import { Duration, Effect, Stream } from "effect"
import { memory } from "../../src/core/cache/memory.ts"
import { memoryRegistry } from "../../src/core/discovery/memory.ts"
import { registered } from "../../src/core/discovery/registered.ts"
import { circuitBreaker } from "../../src/core/layers/circuitBreaker.ts"
import { deadline } from "../../src/core/layers/deadline.ts"
import { retry } from "../../src/core/layers/retry.ts"
import { RpcError } from "../../src/core/rpc/error.ts"
import { protocols } from "../../src/transport/channel.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import * as Service from "../../src/transport/service.ts"
import { settings } from "../transport/http2/support.ts"
import { dial, start } from "../transport/support.ts"

const jump = Number(process.argv[2])

const realDate = Date
let offset = 0
const now = () => realDate.now() + offset
globalThis.Date = new Proxy(realDate, {
  construct: (target, args) => Reflect.construct(target, args.length === 0 ? [now()] : args),
  get: (target, key) => (key === "now" ? now : Reflect.get(target, key)),
})

const jumped = Effect.sync(() => {
  offset = jump
})
const short = "300 millis"
const longer = Effect.sleep("700 millis")
/** Far longer than anything here takes, and shorter than the jump. */
const within = "15 seconds"

const busy = Effect.fail(new RpcError({ code: "unavailable", message: "busy" }))
const codeOf = (effect: Effect.Effect<unknown, RpcError>) =>
  Effect.match(effect, { onSuccess: () => "ok", onFailure: ({ code }) => code })

const never = Service.partial(PiCalculator, {
  calc: () => Effect.never,
  calcRange: () => Stream.never,
  calcStream: () => Stream.never,
})

const silent = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly server: net.Server; readonly sockets: Set<net.Socket> }>(
    (resume) => {
      const sockets = new Set<net.Socket>()
      const server = net.createServer((socket) => {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.write(settings())
      })
      server.listen(0, "127.0.0.1", () => {
        const bound = server.address()
        const port = typeof bound === "object" && bound !== null ? bound.port : 0
        resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, server, sockets }))
      })
    },
  ),
  ({ server, sockets }) =>
    Effect.sync(() => {
      server.close()
      for (const socket of sockets) socket.destroy()
    }),
)

const program = Effect.gen(function* () {
  const limited = yield* start(never.pipe(deadline(short)))
  const unlimited = yield* start(never)
  let attempts = 0
  let broken = true
  const failing = yield* start(
    Service.partial(PiCalculator, {
      calc: () => Effect.suspend(() => (++attempts < 3 ? busy : Effect.succeed({ value: 3 }))),
      summarize: () => Effect.suspend(() => (broken ? busy : Effect.succeed({ count: 1 }))),
    }),
  )
  const registry = yield* memoryRegistry()
  const store = yield* memory()
  const hole = yield* silent

  const calls: Record<string, Effect.Effect<string>> = {}
  for (const protocol of protocols) {
    const atServer = yield* dial(limited, { protocol })
    const atClient = yield* dial(unlimited, { protocol }, deadline(short))
    const both = [
      ["server's", atServer],
      ["client's", atClient],
    ] as const
    for (const [whose, { calc, calcRange }] of both) {
      calls[`${protocol}, unary, the ${whose} deadline`] = codeOf(calc({ n: 1 }))
      calls[`${protocol}, stream, the ${whose} deadline`] = codeOf(Stream.runDrain(calcRange({ first: 1, last: 2 })))
    }
  }
  const retried = yield* dial(failing, {}, retry({ backoff: { initial: short } }))
  calls["retry's backoff"] = codeOf(retried.calc({ n: 1 }))
  const watched = yield* dial(hole, { keepalive: { time: short, timeout: short } })
  calls.keepalive = codeOf(watched.calc({ n: 1 }))

  // What lasts from before the jump until after it.
  const breaker = yield* dial(failing, {}, circuitBreaker({ minimumCalls: 1, openFor: short }))
  const count = codeOf(breaker.summarize(Stream.make({ n: 1 })))
  yield* count
  broken = false
  yield* registry.register("gone", { address: "127.0.0.1:1" }, Duration.fromInputUnsafe(short))
  yield* registry.register("here", { address: "127.0.0.1:1" }, Duration.seconds(60))
  yield* registered(registry, "kept", { address: "127.0.0.1:1" }, { ttl: "600 millis" })
  const bytes = new Uint8Array(1)
  yield* store.set("gone", bytes, { ttl: short })
  yield* store.set("here", bytes, { ttl: "1 minute" })

  yield* Effect.forkChild(Effect.andThen(Effect.sleep("50 millis"), jumped))
  const results = yield* Effect.all(
    Object.entries(calls).map(([name, call]) =>
      Effect.map(
        Effect.timeoutOrElse(call, { duration: within, orElse: () => Effect.succeed("it hangs") }),
        (code) => [name, code] as const,
      ),
    ),
    { concurrency: "unbounded" },
  )
  yield* longer
  const has = (service: string) =>
    Effect.map(Stream.runHead(registry.resolve(service)), (list) =>
      list._tag === "Some" && list.value.length > 0 ? "there" : "gone",
    )
  const stored = (key: string) => Effect.map(store.get(key), (entry) => (entry === undefined ? "gone" : "there"))
  return Object.fromEntries([
    ...results,
    ["circuit", yield* count],
    ["a short lease", yield* has("gone")],
    ["a long lease", yield* has("here")],
    ["a lease that is renewed", yield* has("kept")],
    ["a short ttl", yield* stored("gone")],
    ["a long ttl", yield* stored("here")],
  ])
})

Effect.runPromise(Effect.scoped(program as Effect.Effect<unknown, unknown, never>)).then(
  (results) => {
    process.stdout.write(`${JSON.stringify(results)}\n`, () => process.exit(0))
  },
  (error: unknown) => {
    process.stderr.write(`${error}\n`, () => process.exit(1))
  },
)
