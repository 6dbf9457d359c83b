/**
 * Our client of the calculator, under orders: `ourClient.ts <host:port> [layers | discovered]`.
 */
import process from "node:process"
import { Effect } from "effect"
import { type Channel, deadline, leastRequest, metadata, retry, staticRegistry } from "../../src/core/mod.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { Client, connect, discover } from "../../src/transport/mod.ts"
import { type Calls, obey } from "./orders.ts"

// Deno's AsyncResource, of which Effect makes one whenever a fiber waits, keeps the one before it: 440 bytes a wait, as long
// as the fiber lives, with or without this package. Programs have fibers that end.
const callsAFiber = 50

const [host = "", kind] = process.argv.slice(2)

const opened = Effect.gen(function* () {
  // Where there are several endpoints the calls have several connections: what the choice costs shows with one.
  if (kind === "discovered") return (yield* discover(staticRegistry([{ address: host }]), "pi")).pipe(leastRequest())
  const bare: Channel = yield* connect(`http://${host}`)
  return kind === "layers" ? bare.pipe(retry(), deadline("30 seconds"), metadata({ "x-client": "bench" })) : bare
})

const program = Effect.gen(function* () {
  const channel = yield* opened
  const client = Client.make(PiCalculator, channel)
  const some = (calls: Calls) =>
    Effect.suspend(() => {
      let left = callsAFiber
      return Effect.whileLoop({
        while: () => left-- > 0 && calls.next(),
        body: () => client.calc({ n: calls.n }),
        step: ({ value }) => calls.answer(value),
      })
    })
  yield* Effect.promise(() =>
    obey(async (calls) => {
      while (calls.more) await Effect.runPromise(some(calls))
    }),
  )
})

await Effect.runPromise(Effect.scoped(program))
