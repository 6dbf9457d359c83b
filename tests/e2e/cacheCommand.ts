/**
 * What the tests of `basel cache` share, whatever keeps the entries.
 */
import assert from "node:assert/strict"
import { Effect, Fiber } from "effect"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { Cache } from "../../src/transport/gen/cache_pb.ts"
import { basel, file, running, served } from "./command.ts"

/** `basel cache` at a server. */
export const cacheAt =
  ({ url }: { readonly url: string }) =>
  (args: ReadonlyArray<string>, stdin?: string) =>
    basel(["cache", ...args, "--address", url], stdin)

export const ok = (stdout: string) => ({ code: 0, stdout, stderr: "" })

/** Watches a key of a server whose `--cache` is at this URL, and sees what is set and deleted. */
export const watchPrints = Effect.fnUntraced(function* (url: string) {
  const server = yield* served("--cache", url)
  const { set, delete: remove } = Client.make(Cache, yield* connect(server.url))
  const watching = yield* running(file("src/main.ts", "cache", "watch", "a", "--address", server.url))
  const said = (pattern: RegExp) => Effect.promise(() => watching.said(pattern))
  const value = new TextEncoder().encode("x\u001b[31m")
  // Nobody outside can see when it has begun to watch.
  const knocking = yield* Effect.forkChild(Effect.forever(set({ key: "a", value })))
  yield* said(/^a = "x\\u001b\[31m"$/m)
  yield* Fiber.interrupt(knocking)
  yield* set({ key: "b" })
  yield* remove({ key: "a" })
  const { input } = yield* said(/^a is gone$/m)
  assert.ok(!input.includes("b ="))
})
