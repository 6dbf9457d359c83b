/**
 * The server under test: it reads from stdin how it is to serve, serves, and says on stdout where.
 *
 * Source: connectrpc/conformance/v1/server_compat.proto; each message has its length before it, as four bytes.
 */
import process from "node:process"
import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import { Effect } from "effect"
import { compression, serve } from "../../src/transport/mod.ts"
import {
  type ServerCompatRequest,
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from "./gen/connectrpc/conformance/v1/server_compat_pb.js"
import { run } from "./program.ts"
import { conformance } from "./service.ts"

const prefixLength = 4

const read = async (): Promise<ServerCompatRequest> => {
  let bytes = Buffer.alloc(0)
  for await (const chunk of process.stdin) {
    bytes = Buffer.concat([bytes, chunk])
    if (bytes.length < prefixLength) continue
    const end = prefixLength + bytes.readUint32BE()
    if (bytes.length >= end) return fromBinary(ServerCompatRequestSchema, bytes.subarray(prefixLength, end))
  }
  throw new Error("stdin ended before the request did")
}

const write = (bytes: Uint8Array): void => {
  const prefix = Buffer.alloc(prefixLength)
  prefix.writeUint32BE(bytes.length)
  process.stdout.write(Buffer.concat([prefix, bytes]))
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const program = Effect.gen(function* () {
  // HTTP/1.1 and HTTP/2 share the port, and so do the three protocols: which of them is asked for makes no difference.
  const { useTls, serverCreds, clientTlsCert, messageReceiveLimit } = yield* Effect.promise(read)
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
  const { host, port } = yield* serve(conformance.pipe(compression(undefined, { minBytes: 0 })), {
    port: 0,
    grace: "1 second",
    ...tls,
    ...(messageReceiveLimit === 0 ? {} : { maxReceiveBytes: messageReceiveLimit }),
  })
  const pemCert = (useTls ? serverCreds?.cert : undefined) ?? new Uint8Array()
  write(toBinary(ServerCompatResponseSchema, create(ServerCompatResponseSchema, { host, port, pemCert })))
  return yield* Effect.never
})

run(program)
