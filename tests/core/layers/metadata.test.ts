import assert from "node:assert/strict"
import { Effect } from "effect"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { metadata } from "../../../src/core/layers/metadata.ts"
import { Call, type ResponseMetadata, sendHeader } from "../../../src/core/rpc/call.ts"
import type { Metadata } from "../../../src/core/rpc/metadata.ts"
import { test } from "../../effect.ts"
import { clientOf, piped, serving, testEachKind, testEachSide } from "../support.ts"

const bytes = new Uint8Array([0, 255])

/** A service, and the metadata that its calls have come with. */
const receiving = () => {
  const received: Array<Metadata> = []
  return { received, service: serving(Effect.map(Call, ({ metadata }) => received.push(metadata))) }
}

testEachSide("programs get the entries, in lower case, behind those that are there", ({ ask, put, answers }) =>
  Effect.gen(function* () {
    const { received, service } = receiving()
    const client = yield* put(
      service,
      piped(
        metadata({ "X-Client": ["cli", "again"], "trace-bin": bytes }),
        intercept((call, next) => next({ ...call, metadata: [["x-client", "first"]] })),
      ),
    )
    const all = [
      ["x-client", "first"],
      ["x-client", "cli"],
      ["x-client", "again"],
      ["trace-bin", bytes],
    ]
    assert.deepEqual(yield* ask(client), answers)
    yield* ask(client)
    // Each call gets them once: nothing adds up.
    assert.deepEqual(received, [all, all])
  }),
)

testEachKind("what a channel adds comes before what the service adds, the later layer's first", ({ ask }) =>
  Effect.gen(function* () {
    const { received, service } = receiving()
    const client = yield* clientOf(service.pipe(metadata({ d: "4" }), metadata({ c: "3" })), (channel) =>
      channel.pipe(metadata({ b: "2" }), metadata({ a: "1" })),
    )
    yield* ask(client)
    assert.deepEqual(
      received.map((entries) => entries.map(([key]) => key)),
      [["a", "b", "c", "d"]],
    )
  }),
)

testEachSide("responses are left alone", ({ ask, put }) =>
  Effect.gen(function* () {
    const responses: Array<ResponseMetadata> = []
    const client = yield* put(
      serving(sendHeader({ b: "2" })),
      piped(
        metadata({ a: "1" }),
        intercept((call, next) =>
          Effect.ensuring(
            next(call),
            Effect.sync(() => responses.push(call.response)),
          ),
        ),
      ),
    )
    yield* ask(client)
    assert.deepEqual(
      responses.map(({ header, trailer }) => ({ header, trailer })),
      [{ header: [["b", "2"]], trailer: [] }],
    )
  }),
)

test("entries that can't be sent throw where the layer is made", () =>
  Effect.sync(() => {
    for (const [key, value] of [
      ["bad key", "text"],
      ["grpc-timeout", "1S"],
      ["a", "π"],
      ["a-bin", "text"],
      ["a", bytes],
    ] as const) {
      assert.throws(() => metadata({ [key]: value }), { _tag: "MetadataError", key })
    }
  }))
