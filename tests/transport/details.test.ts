import assert from "node:assert/strict"
import { describe, test as plain } from "node:test"
import { create, createRegistry, setExtension } from "@bufbuild/protobuf"
import { AnySchema, anyPack, DurationSchema } from "@bufbuild/protobuf/wkt"
import { Effect } from "effect"
import { RpcError } from "../../src/core/rpc/error.ts"
import { protocols } from "../../src/transport/channel.ts"
import { detailBytes, detailOfBytes, detailTypes } from "../../src/transport/details.ts"
import { file_etcd_rpc } from "../../src/transport/gen/etcd/rpc_pb.ts"
import { file_pi, PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { codecOf } from "../../src/transport/grpc/codec.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { holderDesc, nodeDesc, registry } from "./protobuf/types.ts"
import { calculator, dial, start } from "./support.ts"

describe("the types that a service's messages and errors may carry", () => {
  plain("are those of its file and of all that it imports, google.rpc's and protobuf's own", () => {
    const types = detailTypes(file_etcd_rpc)
    const names = ["etcdserverpb.PutRequest", "mvccpb.KeyValue", "google.rpc.BadRequest", "google.protobuf.Duration"]
    for (const name of names) assert.ok(types.getMessage(name), name)
    assert.equal(detailTypes(file_etcd_rpc), types)
  })

  plain("are more where a registry has more", () => {
    const types = detailTypes(file_pi, registry)
    for (const name of ["kinds.Node", "pi.PiRequest", "google.rpc.ErrorInfo"]) assert.ok(types.getMessage(name), name)
    assert.equal(detailTypes(file_pi, registry), types)
    assert.equal(detailTypes(file_pi).getMessage("kinds.Node"), undefined)
  })

  plain("are written and read in an Any and as extensions in JSON", () => {
    const json = codecOf("application/grpc+json", detailTypes(file_pi, registry))
    const proto = codecOf("application/grpc", detailTypes(file_pi, registry))
    assert.ok(json && proto)
    const any = anyPack(DurationSchema, create(DurationSchema, { seconds: 5n }))
    const text = `${Buffer.from(json.encode(AnySchema, any))}`
    assert.deepEqual(JSON.parse(text), { "@type": "type.googleapis.com/google.protobuf.Duration", value: "5s" })
    assert.deepEqual(json.decode(AnySchema, Buffer.from(text)), any)
    const note = registry.getExtension("older.note")
    assert.ok(note)
    const holder = create(holderDesc)
    setExtension(holder, note, "a note")
    assert.equal(`${Buffer.from(json.encode(holderDesc, holder))}`, '{"[older.note]":"a note"}')
    for (const codec of [json, proto])
      assert.deepEqual(codec.decode(holderDesc, codec.encode(holderDesc, holder)), holder)
  })
})

describe("a detail", () => {
  plain("is well-formed text, with a mark in place of half a character", () => {
    const types = detailTypes(file_pi)
    const value = { fieldViolations: [{ field: "a\ud800", description: "\udc00b" }] }
    const bytes = detailBytes({ type: "google.rpc.BadRequest", value }, types)
    const read = detailOfBytes("google.rpc.BadRequest", bytes, types)
    assert.deepEqual(read.value, { fieldViolations: [{ field: "a\ufffd", description: "\ufffdb" }] })
  })

  for (const protocol of protocols) {
    test(`of a type that the option names is an object at both ends over ${protocol}`, () =>
      Effect.gen(function* () {
        const detail = { type: "kinds.Node", value: { text: "a" } }
        const failed = new RpcError({ code: "aborted", message: "half a \ud800", details: [detail] })
        const service = Service.make(PiCalculator, { ...calculator, calc: () => Effect.fail(failed) })
        const types = createRegistry(nodeDesc)
        const server = yield* start(service, { types })
        const known = yield* Effect.flip((yield* dial(server, { protocol, types })).calc({ n: 1 }))
        assert.deepEqual([known.code, known.message, known.details], ["aborted", "half a \ufffd", [detail]])
        const unknown = yield* Effect.flip((yield* dial(server, { protocol })).calc({ n: 1 }))
        assert.ok(unknown.details[0]?.value instanceof Uint8Array)
      }))
  }
})
