import assert from "node:assert/strict"
import { Effect, Exit, Fiber, Queue, Scope, Stream } from "effect"
import * as Health from "../../src/core/health/health.ts"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { Health as descriptor } from "../../src/transport/gen/health_pb.ts"
import { healthService } from "../../src/transport/health.ts"
import { test } from "../effect.ts"
import { http1, ownScope, pi, start } from "./support.ts"

const { serving, not_serving } = Health.numbers

const path = "/grpc.health.v1.Health/Check"

test("a health is asked over gRPC and JSON, where the status is a number", () =>
  Effect.gen(function* () {
    const health = Health.make(["pi.PiCalculator"])
    const server = yield* start([pi, healthService(health)])
    const client = Client.make(descriptor, yield* connect(server.url))
    const { status } = yield* client.check({ service: "pi.PiCalculator" })
    assert.equal(status, serving)
    const { code } = yield* Effect.flip(client.check({ service: "pi.Nobody" }))
    assert.equal(code, "not_found")
    const request = yield* http1(server)
    const answer = yield* request({ ":method": "POST", ":path": path, "content-type": "application/json" }, "{}")
    assert.deepEqual([answer.status, `${answer.body}`], [200, '{"status":1}'])
  }))

test("who watches a server is told that it drains, and its stream ends before the grace does", () =>
  Effect.gen(function* () {
    const scope = yield* ownScope
    const server = yield* Effect.gen(function* () {
      const health = Health.make([])
      const started = yield* start(healthService(health), { grace: "10 minutes" })
      yield* Effect.addFinalizer(() => health.shutdown)
      return started
    }).pipe(Scope.provide(scope))
    const client = Client.make(descriptor, yield* connect(server.url))
    const told = yield* Queue.unbounded<number>()
    const watch = yield* Effect.forkScoped(
      Stream.runForEach(client.watch({ service: "" }), ({ status }) => Queue.offer(told, status)),
    )
    assert.equal(yield* Queue.take(told), serving)
    yield* Scope.close(scope, Exit.void)
    yield* Fiber.join(watch)
    assert.deepEqual(yield* Queue.takeAll(told), [not_serving])
  }))
