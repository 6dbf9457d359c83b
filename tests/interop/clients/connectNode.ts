/**
 * connect-node as a client of testServer.ts, in all of its protocols: `connectNode.ts <url> [<file with the CA>]`.
 */
import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import process from "node:process"
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect"
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node"
import { BadRequestSchema } from "../../../src/transport/gen/google/rpc/error_details_pb.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { TestService } from "../gen/grpc/testing/test_pb.ts"
import { assertNear, pi, upTo } from "../numbers.ts"
import { type Cases, goThrough } from "./cases.ts"

interface Target {
  readonly url: string
  readonly ca: Buffer | undefined
}

/** What all transports are given; HTTP/1.1 and HTTP/2 differ in nothing that is used here. */
const options = <V extends "1.1" | "2">(httpVersion: V, { url, ca }: Target) => ({
  httpVersion,
  baseUrl: url,
  nodeOptions: ca === undefined ? {} : { ca },
  sendCompression: compressionGzip,
})

const transports: Readonly<Record<string, (target: Target) => Transport>> = {
  "gRPC over HTTP/2": (target) => createGrpcTransport(options("2", target)),
  "gRPC-Web over HTTP/2": (target) => createGrpcWebTransport(options("2", target)),
  "gRPC-Web over HTTP/1.1": (target) => createGrpcWebTransport(options("1.1", target)),
  "Connect over HTTP/2": (target) => createConnectTransport(options("2", target)),
  "Connect over HTTP/1.1": (target) => createConnectTransport(options("1.1", target)),
  "Connect with JSON and GET over HTTP/2": (target) =>
    createConnectTransport({ ...options("2", target), useBinaryFormat: false, useHttpGet: true }),
  "Connect with JSON and GET over HTTP/1.1": (target) =>
    createConnectTransport({ ...options("1.1", target), useBinaryFormat: false, useHttpGet: true }),
}

const take = async <A>(stream: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const taken: Array<A> = []
  for await (const one of stream) taken.push(one)
  return taken
}

/** The error that a call must fail with. */
const failure = async (call: Promise<unknown>): Promise<ConnectError> => {
  const error = await call.then(
    () => assert.fail("the call succeeded"),
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof ConnectError, String(error))
  return error
}

async function* requestsUpTo(last: number) {
  for (const n of upTo(last)) yield { n }
}

const mebibyte = 1024 * 1024
const endless = { first: 1, last: 2_000_000_000 }

const calls: Cases<Transport> = {
  "a unary call": async (transport) => {
    const { value } = await createClient(PiCalculator, transport).calc({ n: 999 })
    assertNear(value, pi(999))
  },

  "a stream of answers": async (transport) => {
    const points = await take(createClient(PiCalculator, transport).calcRange({ first: 1, last: 200 }))
    assert.deepEqual(
      points.map(({ n }) => n),
      upTo(200),
    )
    for (const { n, value } of points) assertNear(value, pi(n))
  },

  "a stream of requests": async (transport) => {
    const { count, min, max } = await createClient(PiCalculator, transport).summarize(requestsUpTo(200))
    assert.equal(count, 200)
    assertNear(min, pi(1))
    assertNear(max, pi(200))
  },

  "streams both ways": async (transport) => {
    const points = await take(createClient(PiCalculator, transport).calcStream(requestsUpTo(100)))
    assert.deepEqual(
      points.map(({ n }) => n),
      upTo(100),
    )
  },

  "an error with its details": async (transport) => {
    const error = await failure(createClient(PiCalculator, transport).calc({ n: 0 }))
    assert.equal(error.code, Code.InvalidArgument)
    assert.equal(error.rawMessage, "request number should be positive")
    assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "n")
  },

  "an error after answers": async (transport) => {
    const answered: Array<number> = []
    const numbers = async function* () {
      for (const n of [1, 2, 0]) yield { n }
    }
    const error = await failure(
      (async () => {
        for await (const { n } of createClient(PiCalculator, transport).calcStream(numbers())) answered.push(n)
      })(),
    )
    assert.deepEqual(answered, [1, 2])
    assert.equal(error.code, Code.InvalidArgument)
  },

  "a method that isn't implemented": async (transport) => {
    const { code } = await failure(createClient(TestService, transport).unimplementedCall({}))
    assert.equal(code, Code.Unimplemented)
  },

  "metadata there and back": async (transport) => {
    let header = new Headers()
    let trailer = new Headers()
    await createClient(TestService, transport).unaryCall(
      {},
      {
        headers: { "x-grpc-test-echo-initial": "ada, countess", "x-grpc-test-echo-trailing-bin": "AP8s" },
        onHeader: (got) => {
          header = got
        },
        onTrailer: (got) => {
          trailer = got
        },
      },
    )
    assert.equal(header.get("x-grpc-test-echo-initial"), "ada, countess")
    assert.equal(trailer.get("x-grpc-test-echo-trailing-bin"), "AP8s")
  },

  "a deadline that passes": async (transport) => {
    const late = { responseParameters: [{ size: 1 }, { size: 1, intervalUs: 60_000_000 }] }
    const { code } = await failure(
      take(createClient(TestService, transport).streamingOutputCall(late, { timeoutMs: 100 })),
    )
    assert.equal(code, Code.DeadlineExceeded)
  },

  "a call that is cancelled, and one after it": async (transport) => {
    const controller = new AbortController()
    const client = createClient(PiCalculator, transport)
    // To leave the loop would not do: this client goes on reading then.
    const points = client.calcRange(endless, { signal: controller.signal })
    const { code } = await failure(
      (async () => {
        for await (const { n } of points) if (n === 100) controller.abort()
      })(),
    )
    assert.equal(code, Code.Canceled)
    assertNear((await client.calc({ n: 1 })).value, pi(1))
  },

  "large messages, compressed, both ways": async (transport) => {
    const { payload } = await createClient(TestService, transport).unaryCall({
      responseSize: mebibyte,
      // Bytes at random stay as many when they are compressed.
      payload: { body: randomBytes(mebibyte) },
    })
    assert.equal(payload?.body.length, mebibyte)
  },

  "a hundred calls at once": async (transport) => {
    const client = createClient(PiCalculator, transport)
    const answers = await Promise.all(upTo(100).map((n) => client.calc({ n })))
    for (const [index, { value }] of answers.entries()) assertNear(value, pi(index + 1))
  },
}

// HTTP/1.1 carries no answer before the request has ended, as far as this client is concerned.
const callsOverHttp2: Cases<Transport> = {
  "a conversation, each request after the answer to the one before": async (transport) => {
    let answered = Promise.withResolvers<void>()
    const numbers = async function* () {
      for (const n of upTo(20)) {
        yield { n }
        await answered.promise
        answered = Promise.withResolvers<void>()
      }
    }
    const ns: Array<number> = []
    for await (const { n } of createClient(PiCalculator, transport).calcStream(numbers())) {
      ns.push(n)
      answered.resolve()
    }
    assert.deepEqual(ns, upTo(20))
  },
}

export const cases: Cases<Target> = Object.fromEntries(
  Object.entries(transports).flatMap(([name, transport]) =>
    Object.entries({ ...calls, ...(name.endsWith("HTTP/2") ? callsOverHttp2 : {}) }).map(([what, call]) => [
      `${name}: ${what}`,
      (target: Target) => call(transport(target)),
    ]),
  ),
)

if (import.meta.main) {
  const [url = "", ca] = process.argv.slice(2)
  await goThrough(cases, { url, ca: ca === undefined ? undefined : readFileSync(ca) })
}
