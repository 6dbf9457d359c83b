import assert from "node:assert/strict"
import type { Buffer } from "node:buffer"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import * as http2 from "node:http2"
import * as https from "node:https"
import { join } from "node:path"
import { describe } from "node:test"
import { Effect } from "effect"
import { Call, type Peer } from "../../../src/core/rpc/call.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { type Server, serve } from "../../../src/transport/server.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { envelope, request999, requests2 } from "../support.ts"

const pem = (name: string) => readFileSync(join(import.meta.dirname, "..", "certificates", name), "utf8")
const tls = { key: pem("server.key"), cert: pem("server.pem") }
const ca = pem("ca.pem")
const client = { key: pem("client.key"), cert: pem("client.pem") }

/** A server that notes who calls it. */
const noting = (options: { readonly clientCa?: string } = {}) =>
  Effect.gen(function* () {
    const peers: Array<Peer> = []
    const service = Service.partial(PiCalculator, {
      calc: ({ n }) => Effect.map(Call, ({ peer }) => ({ value: peers.push(peer) && n })),
    })
    return { peers, ...(yield* serve(service, { port: 0, tls: { ...tls, ...options } })) }
  })

const session = ({ port }: Server, identity: { readonly key?: string; readonly cert?: string } = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const opened = http2.connect(`https://localhost:${port}`, { ca, ...identity })
      opened.on("error", () => {})
      return opened
    }),
    (opened) => Effect.sync(() => opened.destroy()),
  )

/** A call over HTTP/1.1: the version of the answer, and what it says. */
const overHttp1 = ({ port }: Server, identity: { readonly key?: string; readonly cert?: string } = {}) =>
  Effect.promise(
    () =>
      new Promise<string>((resolve, reject) => {
        const headers = { "content-type": "application/json" }
        const options = { ca, method: "POST", headers, agent: false, ...identity }
        const request = https.request(`https://localhost:${port}/pi.PiCalculator/Calc`, options, (response) => {
          let text = ""
          response.setEncoding("utf8").on("data", (chunk: string) => {
            text += chunk
          })
          response.on("end", () => resolve(`${response.httpVersion} ${text}`))
        })
        request.on("error", reject)
        request.end('{"n":7}')
      }),
  )

const grpc = { "content-type": "application/grpc", te: "trailers" }

describe("a port with TLS", () => {
  test("speaks HTTP/2 with who asks for it, and HTTP/1.1 with who doesn't", () =>
    Effect.gen(function* () {
      const server = yield* noting()
      assert.match(server.url, /^https:/)
      const answer = yield* requests2(yield* session(server))(grpc, envelope(request999))
      assert.equal(answer.trailers["grpc-status"], "0")
      assert.equal(yield* overHttp1(server), '1.1 {"value":7}')
      assert.deepEqual(
        server.peers.map(({ identity }) => identity),
        [undefined, undefined],
      )
    }))

  test("tells a program who its client is, by the certificate that it has checked", () =>
    Effect.gen(function* () {
      const server = yield* noting({ clientCa: ca })
      const answer = yield* requests2(yield* session(server, client))(grpc, envelope(request999))
      assert.equal(answer.trailers["grpc-status"], "0")
      assert.equal(yield* overHttp1(server, client), '1.1 {"value":7}')
      assert.equal(server.peers.length, 2)
      for (const { identity } of server.peers) {
        assert.equal(identity?.subject, "client")
        assert.match(identity?.names ?? "", /DNS:client\.example/)
      }
    }))

  test("gives a client no name that its certificate doesn't have", () =>
    Effect.gen(function* () {
      const server = yield* noting({ clientCa: pem("workload-ca.pem") })
      const workload = { key: pem("workload.key"), cert: pem("workload.pem") }
      const answer = yield* requests2(yield* session(server, workload))(grpc, envelope(request999))
      assert.equal(answer.trailers["grpc-status"], "0")
      assert.deepEqual(server.peers[0]?.identity, { subject: undefined, names: "URI:spiffe://example.org/pi" })
    }))

  test("turns away a client without a certificate where one is asked for", () =>
    Effect.gen(function* () {
      const server = yield* noting({ clientCa: ca })
      const refused = yield* Effect.exit(requests2(yield* session(server))(grpc, envelope(request999)))
      assert.ok(refused._tag === "Failure" || Number.isNaN(refused.value.status))
      assert.equal(server.peers.length, 0)
      const admitted = yield* requests2(yield* session(server, client))(grpc, envelope(request999))
      assert.equal(admitted.trailers["grpc-status"], "0")
    }))

  test("never begins a second handshake on a connection, which is a cheap way to make it work", () =>
    Effect.gen(function* () {
      const { port } = yield* noting()
      const said = yield* Effect.callback<string>((resume) => {
        const client = spawn("openssl", ["s_client", "-tls1_2", "-connect", `127.0.0.1:${port}`])
        let text = ""
        const hear = (piece: Buffer) => {
          text += piece
          // It is asked for by a line with R alone, once the first one is over.
          if (/Verify return code/.test(text) && !/RENEGOTIATING/.test(text)) client.stdin.write("R\n")
        }
        client.stdout.on("data", hear)
        client.stderr.on("data", hear)
        client.stdin.on("error", () => {})
        client.on("close", () => resume(Effect.succeed(text)))
        return Effect.sync(() => client.kill())
      })
      assert.match(said, /RENEGOTIATING.*no renegotiation/s)
    }))

  test("isn't opened with certificates that can't be served with, which is said with what to do", () =>
    Effect.gen(function* () {
      for (const [wrong, expected] of [
        [{ cert: "no certificate" }, /tls\.cert is no certificate: give one in PEM/],
        [{ key: "no key" }, /tls\.key is no private key: give one in PEM/],
        [{ key: client.key }, /tls\.key is the key of another certificate/],
        [{ clientCa: "no certificate" }, /tls\.clientCa is no certificate: give one in PEM/],
      ] as const) {
        const error = yield* Effect.flip(serve([], { port: 0, tls: { ...tls, ...wrong } }))
        assert.match(error.message, /^cannot listen on 127\.0\.0\.1:0: /)
        assert.match(error.message, expected)
      }
    }))
})
