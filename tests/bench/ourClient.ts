/**
 * Our client of the calculator, under orders: `ourClient.ts <host:port> [layers]`.
 */
import process from "node:process"
import { Effect } from "effect"
import { deadline, metadata, retry } from "../../src/core/mod.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { Client, connect } from "../../src/transport/mod.ts"
import { obey } from "./orders.ts"

const [host, layers] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const bare = yield* connect(`http://${host}`)
  const channel =
    layers === "layers" ? bare.pipe(retry(), deadline("30 seconds"), metadata({ "x-client": "bench" })) : bare
  const client = Client.make(PiCalculator, channel)
  yield* Effect.promise(() =>
    obey((calls) =>
      Effect.runPromise(
        Effect.whileLoop({
          while: () => calls.next(),
          body: () => client.calc({ n: calls.n }),
          step: ({ value }) => calls.answer(value),
        }),
      ),
    ),
  )
})

await Effect.runPromise(Effect.scoped(program))
