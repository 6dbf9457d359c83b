/**
 * What a server holds for its peers: real servers and real sockets.
 */
import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { errorCode, frameType } from "../../src/transport/http2/frames.ts"
import { serve } from "../../src/transport/server.ts"
import { test } from "../effect.ts"
import { headers, ping } from "./http2/support.ts"
import { callOf, peer } from "./net/support.ts"
import { pi } from "./support.ts"

const streamMemory = 8192

describe("a server's memory", () => {
  test("is told while streams are open, is shared out to connections and peers, and comes back", () =>
    Effect.gen(function* () {
      const server = yield* serve(pi, { port: 0, memory: { process: 16 * streamMemory, connection: 3 * streamMemory } })
      const client = yield* peer(server)
      const open = (id: number) => headers(id, false, callOf("Calc"))
      yield* client.send(open(1), open(3), open(5), open(7), ping)
      const cut = yield* client.frame(({ type }) => type === frameType.rstStream)
      assert.deepEqual([cut.streamId, cut.payload.readUInt32BE(0)], [7, errorCode.enhanceYourCalm])
      assert.equal(server.memory.refused, 1)
      assert.deepEqual([server.memory.used, server.memory.limit], [3 * streamMemory, 16 * streamMemory])
      // The peer's quarter is four streams.
      const second = yield* peer(server)
      yield* second.send(open(1), open(3))
      assert.equal((yield* second.frame(({ type }) => type === frameType.rstStream)).streamId, 3)
      client.socket.destroy()
      second.socket.destroy()
      while (server.memory.used > 0) yield* Effect.sleep("10 millis")
      assert.equal(server.memory.refused, 2)
    }))
})
