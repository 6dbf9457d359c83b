/**
 * The server under test: it reads from stdin how it is to serve, serves, and says on stdout where.
 *
 * Source: connectrpc/conformance/v1/server_compat.proto.
 */
import assert from "node:assert/strict"
import { create } from "@bufbuild/protobuf"
import { Effect } from "effect"
import { compression, encodings, serve } from "../../src/transport/mod.ts"
import { read, write } from "./delimited.ts"
import {
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "./gen/connectrpc/conformance/v1/server_compat_pb.js"
import { run } from "./program.ts"
import { conformance } from "./service.ts"

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const program = Effect.gen(function* () {
  // HTTP/1.1 and HTTP/2 share the port, and so do the three protocols: which of them is asked for makes no difference.
  const { value: request = assert.fail("stdin ended before there was a request") } = yield* Effect.promise(() =>
    read(ServerCompatRequestSchema).next(),
  )
  const { useTls, serverCreds, clientTlsCert, messageReceiveLimit } = request
  const tls =
    useTls && serverCreds !== undefined
      ? {
          tls: {
            key: text(serverCreds.key),
            cert: text(serverCreds.cert),
            ...(clientTlsCert.length === 0 ? {} : { clientCa: text(clientTlsCert) }),
          },
        }
      : {}
  // Small messages too, or nothing here would be compressed.
  const { host, port } = yield* serve(conformance.pipe(compression(encodings, { minBytes: 0 })), {
    port: 0,
    grace: "1 second",
    ...tls,
    ...(messageReceiveLimit === 0 ? {} : { maxReceiveBytes: messageReceiveLimit }),
  })
  const pemCert = (useTls ? serverCreds?.cert : undefined) ?? new Uint8Array()
  write(ServerCompatResponseSchema, create(ServerCompatResponseSchema, { host, port, pemCert }))
  return yield* Effect.never
})

run(program)
