import assert from "node:assert/strict"
import { describe } from "node:test"
import { Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { RpcError } from "../../src/core/rpc/error.ts"
import { test } from "../effect.ts"
import { dial } from "../transport/support.ts"
import { network } from "./network.ts"
import { counting } from "./support.ts"

describe("calls of which one half is given up", () => {
  test("leave the connection, and both of its ends, as good as before", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      const middle = yield* network(server)
      const client = yield* dial(middle)
      const mine = new RpcError({ code: "data_loss", message: "mine" })
      const numbers = Stream.map(Stream.range(1, 1000), (n) => ({ n }))
      const failing = Stream.concat(numbers, Stream.fail(mine))
      const endless = Stream.map(Stream.range(1, Number.MAX_SAFE_INTEGER), () => ({ n: 7 }))
      const round = Effect.gen(function* () {
        assert.equal(yield* Effect.flip(client.summarize(failing)), mine)
        assert.equal(yield* Effect.flip(Stream.runDrain(client.calcStream(failing))), mine)
        const dying = client.summarize(Stream.concat(numbers, Stream.die("a defect")))
        assert.ok(Exit.isFailure(yield* Effect.exit(dying)))
        const some = Stream.take(client.calcRange({ first: 1, last: 2_000_000_000 }), 5)
        assert.equal((yield* Stream.runCollect(some)).length, 5)
        assert.equal((yield* Stream.runCollect(Stream.take(client.calcStream(endless), 5))).length, 5)
        const begun = yield* Deferred.make<void>()
        const interrupted = yield* Effect.forkChild(
          client.summarize(Stream.tap(endless, () => Deferred.succeed(begun, undefined))),
        )
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(interrupted)
        yield* client.calc({ n: 1 })
      })
      yield* Effect.all(
        Array.from({ length: 20 }, () => round),
        { concurrency: 10, discard: true },
      )
      assert.equal(middle.made(), 1)
      yield* server.drain
      yield* server.ran
    }))
})
