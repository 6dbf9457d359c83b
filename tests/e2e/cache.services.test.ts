import assert from "node:assert/strict"
import { Effect } from "effect"
import { test } from "../effect.ts"
import { redisServer } from "../transport/redis/server.ts"
import { cacheAt, ok, watchPrints } from "./cacheCommand.ts"
import { basel, served } from "./command.ts"

test("watch prints changes as they come from Redis", () =>
  Effect.gen(function* () {
    const redis = yield* redisServer({})
    yield* watchPrints(redis.url)
  }))

test("servers with one Redis have one cache, and go without it while it is away", () =>
  Effect.gen(function* () {
    const redis = yield* redisServer({})
    const [one, two] = [yield* served("--cache", redis.url), yield* served("--cache", redis.url)]
    yield* cacheAt(one)(["set", "greeting", "hello"])
    assert.deepEqual(yield* cacheAt(two)(["get", "greeting"]), ok("hello"))
    const calc = (url: string) => basel(["calc", "999", "--address", url])
    const answered = ok("pi(999) = 3.1412740089419966\n")
    assert.deepEqual(yield* calc(one.url), answered)
    const [key = ""] = (yield* redis.command("KEYS", "basel:answers*")).split("\n")
    assert.match(key, /Calc/)
    yield* redis.kill
    assert.deepEqual(yield* calc(two.url), answered)
    yield* Effect.promise(() => two.said(/calls go without the store of cached answers/))
    yield* redis.restart
  }))
