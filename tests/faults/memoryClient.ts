/**
 * A client in a process of its own, that makes calls to the server at an address, a third of which it interrupts, and
 * says after each tenth of them how much memory it can still reach, in bytes.
 */
import { Console, Effect, Stream } from "effect"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"

const [url = "", calls = ""] = process.argv.slice(2)

const collect = "Bun" in globalThis ? () => Bun.gc(true) : (globalThis as { readonly gc?: () => void }).gc
if (collect === undefined)
  throw new Error("there is no gc: run it with --expose-gc, which Deno takes as --v8-flags=--expose-gc")

const reachable = Effect.gen(function* () {
  // What a turn or two still hold is no leak.
  for (let i = 0; i < 3; i++) {
    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    collect()
  }
  return process.memoryUsage().heapUsed
})

const program = Effect.gen(function* () {
  const client = Client.make(PiCalculator, yield* connect(url))
  const kinds = [
    client.calc({ n: 1 }),
    Stream.runDrain(client.calcRange({ first: 1, last: 2 })),
    // Interrupted before it begins to be answered, after, and as a stream.
    Effect.raceFirst(client.calc({ n: 2 }), Effect.yieldNow),
    client.calc({ n: 3 }),
    client.report({}),
    Stream.runDrain(Stream.take(client.calcRange({ first: 1, last: 100 }), 1)),
  ]
  const call = (n: number): Effect.Effect<unknown, unknown> => kinds[n % kinds.length] ?? Effect.void
  const tenth = Effect.forEach(
    Array.from({ length: Number(calls) / 10 }, (_, index) => index),
    call,
    { concurrency: 64, discard: true },
  )
  for (let tenths = 0; tenths < 10; tenths++) {
    yield* tenth
    yield* Console.log(`reaches ${yield* reachable} bytes`)
  }
})

await Effect.runPromise(Effect.scoped(program))
