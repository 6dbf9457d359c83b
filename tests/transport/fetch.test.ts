import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { describe } from "node:test"
import { createClient } from "@connectrpc/connect"
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web"
import { Deferred, Effect, Stream } from "effect"
import * as Calculator from "../../src/core/pi/calculator.ts"
import * as Journal from "../../src/core/pi/journal.ts"
import { piClosedForm } from "../../src/core/pi/series.ts"
import type { RpcError } from "../../src/core/rpc/error.ts"
import { type FetchHandler, toFetch } from "../../src/transport/fetch.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { bytes, calculator, envelope, pi } from "./support.ts"

const url = (method: string) => `http://pi.example/pi.PiCalculator/${method}`

const post = (method: string, contentType: string, body: NonNullable<RequestInit["body"]>, more: RequestInit = {}) =>
  // Node asks for a word on duplex where a body is a stream, which no type knows.
  new Request(url(method), {
    method: "POST",
    headers: { "content-type": contentType },
    body,
    duplex: "half",
    ...more,
  } as RequestInit)

/** A handler as the `fetch` of a client, which Bun's types want to have more of. */
const fetchBy = (handle: FetchHandler) =>
  ((input: RequestInfo | URL, init?: RequestInit) => handle(new Request(input, init))) as typeof fetch

const answered = (handle: FetchHandler, request: Request, context?: object) =>
  Effect.promise(() => handle(request, context))

const range = (first: number, last: number) =>
  post("CalcRange", "application/connect+json", new Uint8Array(envelope(bytes(JSON.stringify({ first, last })))))

describe("a handler at the edge", () => {
  test("answers others' clients, over Connect and gRPC-Web, one message and many", () =>
    Effect.gen(function* () {
      const handle = yield* toFetch(pi)
      const options = {
        baseUrl: "http://pi.example",
        fetch: fetchBy(handle),
      }
      for (const transport of [
        createConnectTransport(options),
        createGrpcWebTransport(options),
        createConnectTransport({ ...options, useHttpGet: true }),
      ]) {
        const client = createClient(PiCalculator, transport)
        yield* Effect.promise(async () => {
          assert.equal((await client.calc({ n: 999 })).value, piClosedForm(999))
          const points = await Array.fromAsync(client.calcRange({ first: 1, last: 3000 }))
          assert.deepEqual([points.length, points.at(-1)?.n], [3000, 3000])
          await assert.rejects(client.calc({ n: -1 }), /should be positive/)
        })
      }
    }))

  test("says how long a unary response is", () =>
    Effect.gen(function* () {
      const handle = yield* toFetch(pi)
      const response = yield* answered(handle, post("Calc", "application/json", '{"n":1}'))
      const text = yield* Effect.promise(() => response.text())
      assert.deepEqual([response.status, response.headers.get("content-length")], [200, `${text.length}`])
    }))

  test("has no place for gRPC itself", () =>
    Effect.gen(function* () {
      const handle = yield* toFetch(pi)
      assert.equal((yield* answered(handle, post("Calc", "application/grpc", new Uint8Array(5)))).status, 415)
      assert.equal((yield* answered(handle, new Request("http://pi.example/"))).status, 404)
    }))

  test("makes no more of a stream than its client takes, and ends it when the client leaves", () =>
    Effect.gen(function* () {
      let made = 0
      const ended = yield* Deferred.make<void>()
      const calcRange = () =>
        Stream.range(1, 100_000_000).pipe(
          Stream.rechunk(1),
          Stream.map((n) => {
            made += 1
            return { n }
          }),
          Stream.ensuring(Deferred.succeed(ended, undefined)),
        )
      const handle = yield* toFetch(Service.partial(PiCalculator, { calcRange }))
      const response = yield* answered(handle, range(1, 1))
      const reader = response.body?.getReader()
      assert.ok(reader)
      yield* Effect.promise(() => reader.read())
      yield* Effect.promise(() => new Promise((resume) => setTimeout(resume, 50)))
      const before = made
      assert.ok(before < 1000, `${before} were made for one that was read`)
      yield* Effect.promise(() => new Promise((resume) => setTimeout(resume, 50)))
      assert.equal(made, before)
      yield* Effect.promise(() => reader.cancel())
      yield* Deferred.await(ended)
    }))

  test("reads no more of a request than its program takes", () =>
    Effect.gen(function* () {
      let sent = 0
      const one = new Uint8Array(envelope(new Uint8Array([8, 1])))
      const piece = new Uint8Array(1000 * one.length)
      for (let at = 0; at < piece.length; at += one.length) piece.set(one, at)
      const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
        pull: (controller) => {
          sent += piece.length
          controller.enqueue(piece)
        },
      })
      const taken = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      const summarize = (requests: Stream.Stream<unknown, RpcError>) =>
        Stream.runForEachArray(Stream.take(requests, 1), () => Deferred.succeed(taken, undefined)).pipe(
          Effect.andThen(Deferred.await(gate)),
          Effect.as({ count: 1 }),
        )
      const handle = yield* toFetch(Service.partial(PiCalculator, { summarize }))
      const response = handle(post("Summarize", "application/connect+proto", body))
      yield* Deferred.await(taken)
      yield* Effect.promise(() => new Promise((resume) => setTimeout(resume, 50)))
      assert.ok(sent < 1_000_000, `${sent} bytes`)
      yield* Deferred.succeed(gate, undefined)
      assert.equal((yield* Effect.promise(() => response)).status, 200)
    }))

  test("interrupts the program of a request that is aborted", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const calc = () =>
        Effect.ensuring(
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
          Deferred.succeed(ended, undefined),
        )
      const handle = yield* toFetch(Service.partial(PiCalculator, { calc }))
      const abort = new AbortController()
      const request = post("Calc", "application/json", "{}", { signal: abort.signal })
      handle(request)
      yield* Deferred.await(begun)
      abort.abort()
      assert.ok(request.signal.aborted)
      yield* Deferred.await(ended)
    }))

  test("tells the runtime of reports that are still to be kept, and of nothing else", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const kept: Array<string> = []
      const journal = yield* Journal.open(({ text }) =>
        Effect.andThen(
          Deferred.await(gate),
          Effect.sync(() => kept.push(text)),
        ),
      )
      const programs = Calculator.make({ policy: Effect.succeed(true), journal })
      const handle = yield* toFetch(Service.make(PiCalculator, programs))
      // As Workers' own, it works as a method only.
      class Context {
        readonly work: Array<Promise<unknown>> = []
        waitUntil(work: Promise<unknown>) {
          this.work.push(work)
        }
      }
      const context = new Context()
      yield* answered(handle, post("Calc", "application/json", '{"n":1}'), context)
      assert.equal(context.work.length, 0)
      const report = post("Report", "application/json", '{"text":"hello"}')
      assert.equal((yield* answered(handle, report, context)).status, 200)
      assert.equal(context.work.length, 1)
      assert.deepEqual(kept, [])
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.promise(() => Promise.all(context.work))
      assert.deepEqual(kept, ["hello"])
    }))

  test("takes what Bun and Deno give beside a request", () =>
    Effect.gen(function* () {
      const handle = yield* toFetch(Service.make(PiCalculator, calculator))
      const given = { remoteAddr: { hostname: "127.0.0.1" } }
      assert.equal((yield* answered(handle, post("Calc", "application/json", '{"n":1}'), given)).status, 200)
    }))

  test("is made of nothing that only a runtime with Node's modules has", () =>
    Effect.sync(() => {
      const src = resolve(import.meta.dirname, "../../src")
      assert.ok(readdirSync(src).includes("transport"))
      const seen = new Set<string>()
      const found: Array<string> = []
      const walk = (file: string) => {
        if (seen.has(file)) return
        seen.add(file)
        const text = readFileSync(file, "utf8")
        // Types are gone before anything runs.
        for (const [, from = ""] of text.matchAll(/^(?:import|export) (?!type )[^"]*?"([^"]+)"/gms)) {
          if (from.startsWith("node:")) found.push(`${relative(src, file)}: ${from}`)
          if (from.startsWith(".")) walk(join(dirname(file), from))
        }
      }
      walk(join(src, "transport/fetch.ts"))
      assert.ok(seen.size > 20, `${seen.size} files`)
      assert.deepEqual(found, [])
    }))
})
