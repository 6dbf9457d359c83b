import assert from "node:assert/strict"
import { Effect, Fiber, Queue, Stream } from "effect"
import { numbers } from "../../src/core/health/health.ts"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { Health } from "../../src/transport/gen/health_pb.ts"
import { test } from "../effect.ts"
import { openCall } from "./calls.ts"
import { served, servedByWorkers } from "./command.ts"

const healthOf = ({ url }: { readonly url: string }) =>
  Effect.map(connect(url), (channel) => Client.make(Health, channel))

test("serve tells of its health in either edition, and by workers", () =>
  Effect.gen(function* () {
    for (const server of [yield* served(), yield* served("--streaming"), yield* servedByWorkers(2)]) {
      const health = yield* healthOf(server)
      for (const service of ["", "pi.PiCalculator"]) {
        assert.equal((yield* health.check({ service })).status, numbers.serving)
      }
    }
  }))

test("it isn't delayed as calls are", () =>
  Effect.gen(function* () {
    const health = yield* healthOf(yield* served("--delay", "10m"))
    assert.equal((yield* health.check({})).status, numbers.serving)
  }))

test("who watches is told as soon as it drains, while calls still run, and doesn't keep it from its end", () =>
  Effect.gen(function* () {
    const server = yield* served("--grace", "1m")
    const told = yield* Queue.unbounded<number>()
    const { watch } = yield* healthOf(server)
    const watching = yield* Effect.forkScoped(
      Stream.runForEach(watch({ service: "pi.PiCalculator" }), ({ status }) => Queue.offer(told, status)),
    )
    assert.equal(yield* Queue.take(told), numbers.serving)
    const { call, finish } = yield* openCall(server.url)
    server.signal("SIGTERM")
    assert.equal(yield* Queue.take(told), numbers.not_serving)
    yield* Fiber.join(watching)
    yield* finish
    yield* Fiber.join(call)
    const { code } = yield* Effect.promise(() => server.finished)
    assert.equal(code, 0)
  }))
