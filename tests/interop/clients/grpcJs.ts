/**
 * grpc-js as a client of testServer.ts: `grpcJs.ts <host:port> [<file with the CA> <name in the server's certificate>]`.
 */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import process from "node:process"
import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf"
import { anyUnpack } from "@bufbuild/protobuf/wkt"
import {
  type CallOptions,
  Client,
  type ClientOptions,
  type ClientReadableStream,
  compressionAlgorithms,
  credentials,
  Metadata,
  type ServiceError,
  type StatusObject,
  status,
} from "@grpc/grpc-js"
import { BadRequestSchema } from "../../../src/transport/gen/google/rpc/error_details_pb.ts"
import { StatusSchema } from "../../../src/transport/gen/google/rpc/status_pb.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { TestService } from "../gen/grpc/testing/test_pb.ts"
import { assertNear, pi, upTo } from "../numbers.ts"
import { type Cases, goThrough } from "./cases.ts"

interface Target {
  readonly address: string
  readonly secure: { readonly ca: Buffer; readonly name: string } | undefined
}

/** Gives the body a client, and closes it. */
const using = async ({ address, secure }: Target, body: (client: Client) => Promise<void>, options?: ClientOptions) => {
  const client = new Client(
    address,
    secure === undefined ? credentials.createInsecure() : credentials.createSsl(secure.ca),
    { ...options, ...(secure === undefined ? {} : { "grpc.ssl_target_name_override": secure.name }) },
  )
  try {
    await body(client)
  } finally {
    client.close()
  }
}

const path = ({ parent, name }: { readonly parent: { readonly typeName: string }; readonly name: string }): string =>
  `/${parent.typeName}/${name}`

const serializer =
  <D extends DescMessage>(desc: D) =>
  (message: MessageInitShape<D>): Buffer =>
    Buffer.from(toBinary(desc, create(desc, message)))

const deserializer =
  <D extends DescMessage>(desc: D) =>
  (bytes: Buffer): MessageShape<D> =>
    fromBinary(desc, bytes)

/** What came of a call with one answer: the answer, and the metadata around it. */
interface Answer<A> {
  readonly message: A
  readonly header: Metadata
  readonly trailer: Metadata
}

const unary = <I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  metadata = new Metadata(),
  options: CallOptions = {},
): Promise<Answer<MessageShape<O>>> =>
  new Promise((resolve, reject) => {
    let header = new Metadata()
    let message: MessageShape<O> | undefined
    const call = client.makeUnaryRequest(
      path(method),
      serializer(method.input),
      deserializer(method.output),
      request,
      metadata,
      options,
      (error, answer) => {
        if (error !== null) reject(error)
        message = answer
      },
    )
    call.on("metadata", (got: Metadata) => {
      header = got
    })
    call.on("status", ({ metadata: trailer }: StatusObject) => {
      // It may come before the callback's answer.
      setImmediate(() => message !== undefined && resolve({ message, header, trailer }))
    })
  })

const serverStream = <I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: DescMethodServerStreaming<I, O>,
  request: MessageInitShape<I>,
  options: CallOptions = {},
): ClientReadableStream<MessageShape<O>> =>
  client.makeServerStreamRequest(
    path(method),
    serializer(method.input),
    deserializer(method.output),
    request,
    new Metadata(),
    options,
  )

const clientStream = <I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: DescMethodClientStreaming<I, O>,
  requests: ReadonlyArray<MessageInitShape<I>>,
): Promise<MessageShape<O>> =>
  new Promise((resolve, reject) => {
    const call = client.makeClientStreamRequest(
      path(method),
      serializer(method.input),
      deserializer(method.output),
      (error, answer) => (answer === undefined ? reject(error) : resolve(answer)),
    )
    for (const request of requests) call.write(request)
    call.end()
  })

const bidi = <I extends DescMessage, O extends DescMessage>(client: Client, method: DescMethodBiDiStreaming<I, O>) =>
  client.makeBidiStreamRequest(path(method), serializer(method.input), deserializer(method.output))

const isServiceError = (error: unknown): error is ServiceError => error instanceof Error && "code" in error

/** The error that a call must fail with. */
const failure = async (call: Promise<unknown>): Promise<ServiceError> => {
  const error = await call.then(
    () => assert.fail("the call succeeded"),
    (reason: unknown) => reason,
  )
  assert.ok(isServiceError(error), String(error))
  return error
}

const take = async <A>(stream: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const taken: Array<A> = []
  for await (const one of stream) taken.push(one)
  return taken
}

const calc999 = async (client: Client): Promise<void> => {
  const { message } = await unary(client, PiCalculator.method.calc, { n: 999 })
  assertNear(message.value, pi(999))
}

const mebibyte = 1024 * 1024

/** Both ways so many bytes. */
const exchange = async (client: Client, size: number): Promise<void> => {
  const { message } = await unary(client, TestService.method.unaryCall, {
    responseSize: size,
    payload: { body: new Uint8Array(size) },
  })
  assert.equal(message.payload?.body.length, size)
}

export const cases: Cases<Target> = {
  "a unary call": (target) => using(target, calc999),

  "a stream of answers": (target) =>
    using(target, async (client) => {
      const points = await take(serverStream(client, PiCalculator.method.calcRange, { first: 1, last: 999 }))
      assert.deepEqual(
        points.map(({ n }) => n),
        upTo(999),
      )
      for (const { n, value } of points) assertNear(value, pi(n))
    }),

  "a stream of requests": (target) =>
    using(target, async (client) => {
      const requests = upTo(999).map((n) => ({ n }))
      const { count, min, max } = await clientStream(client, PiCalculator.method.summarize, requests)
      assert.equal(count, 999)
      assertNear(min, pi(1))
      assertNear(max, pi(999))
    }),

  "a stream of requests without any": (target) =>
    using(target, async (client) => {
      assert.equal((await clientStream(client, PiCalculator.method.summarize, [])).count, 0)
    }),

  "a conversation, each request after the answer to the one before": (target) =>
    using(target, async (client) => {
      const call = bidi(client, PiCalculator.method.calcStream)
      const answers = call[Symbol.asyncIterator]()
      for (const n of upTo(20)) {
        call.write({ n })
        const { value: point } = await answers.next()
        assert.equal(point.n, n)
        assertNear(point.value, pi(n))
      }
      call.end()
      assert.equal((await answers.next()).done, true)
    }),

  "metadata there and back, in order, and bytes under -bin keys": (target) =>
    using(target, async (client) => {
      const metadata = new Metadata()
      metadata.add("x-grpc-test-echo-initial", "ada, countess")
      metadata.add("x-grpc-test-echo-initial", "grace")
      metadata.add("x-grpc-test-echo-trailing-bin", Buffer.of(0, 255, 44))
      metadata.add("x-grpc-test-echo-trailing-bin", Buffer.of())
      metadata.add("x-grpc-test-echo-trailing-bin", Buffer.of(1))
      const { header, trailer } = await unary(client, TestService.method.unaryCall, {}, metadata)
      assert.equal(header.get("x-grpc-test-echo-initial").join(", "), "ada, countess, grace")
      assert.deepEqual(trailer.get("x-grpc-test-echo-trailing-bin"), [Buffer.of(0, 255, 44), Buffer.of(), Buffer.of(1)])
    }),

  "an error with its details": (target) =>
    using(target, async (client) => {
      const { code, details, metadata } = await failure(unary(client, PiCalculator.method.calc, { n: 0 }))
      assert.equal(code, status.INVALID_ARGUMENT)
      assert.equal(details, "request number should be positive")
      const [bytes] = metadata.get("grpc-status-details-bin")
      assert.ok(Buffer.isBuffer(bytes))
      const { code: inner, details: anys } = fromBinary(StatusSchema, bytes)
      assert.equal(inner, status.INVALID_ARGUMENT)
      const [any = assert.fail("no details")] = anys
      assert.equal(anyUnpack(any, BadRequestSchema)?.fieldViolations[0]?.field, "n")
    }),

  "an error's message in any letters": (target) =>
    using(target, async (client) => {
      const message = "\t100% of π, and 😈\r\n"
      const { code, details } = await failure(
        unary(client, TestService.method.unaryCall, { responseStatus: { code: status.DATA_LOSS, message } }),
      )
      assert.deepEqual({ code, details }, { code: status.DATA_LOSS, details: message })
    }),

  "every status that isn't ok": (target) =>
    using(target, async (client) => {
      for (const code of upTo(16)) {
        const responseStatus = { code, message: `status ${code}` }
        const error = await failure(unary(client, TestService.method.unaryCall, { responseStatus }))
        assert.deepEqual([error.code, error.details], [code, responseStatus.message])
      }
    }),

  "an error after answers": (target) =>
    using(target, async (client) => {
      const call = bidi(client, PiCalculator.method.calcStream)
      for (const n of [1, 2, 0]) call.write({ n })
      call.end()
      const answered: Array<number> = []
      const error = await failure(
        (async () => {
          for await (const { n } of call) answered.push(n)
        })(),
      )
      assert.deepEqual(answered, [1, 2])
      assert.equal(error.code, status.INVALID_ARGUMENT)
    }),

  "a method that isn't implemented": (target) =>
    using(target, async (client) => {
      const { code } = await failure(unary(client, TestService.method.unimplementedCall, {}))
      assert.equal(code, status.UNIMPLEMENTED)
    }),

  "a deadline that passes": (target) =>
    using(target, async (client) => {
      const late = { responseParameters: [{ size: 1 }, { size: 1, intervalUs: 60_000_000 }] }
      const call = serverStream(client, TestService.method.streamingOutputCall, late, { deadline: Date.now() + 200 })
      const { code } = await failure(take(call))
      assert.equal(code, status.DEADLINE_EXCEEDED)
      await calc999(client)
    }),

  "a call that is cancelled, and calls after it on the same connection": (target) =>
    using(target, async (client) => {
      for (const _ of upTo(20)) {
        const call = serverStream(client, PiCalculator.method.calcRange, { first: 1, last: 2_000_000_000 })
        const { code } = await failure(
          (async () => {
            for await (const _point of call) call.cancel()
          })(),
        )
        assert.equal(code, status.CANCELLED)
      }
      await calc999(client)
    }),

  "a thousand calls at once": (target) =>
    using(target, async (client) => {
      const answers = await Promise.all(upTo(1000).map((n) => unary(client, PiCalculator.method.calc, { n })))
      for (const [index, { message }] of answers.entries()) assertNear(message.value, pi(index + 1))
    }),

  "messages of 4 MB both ways": (target) => using(target, (client) => exchange(client, 4_000_000)),

  "many large messages at once, on one connection": (target) =>
    using(target, async (client) => {
      await Promise.all(upTo(16).map(() => exchange(client, mebibyte)))
    }),

  "a message over our limit is refused, and the connection lives on": (target) =>
    using(target, async (client) => {
      const { code } = await failure(exchange(client, 5 * mebibyte))
      assert.equal(code, status.RESOURCE_EXHAUSTED)
      await calc999(client)
    }),

  "messages compressed with gzip": (target) =>
    // Zeros shrink a thousandfold; beyond a mebibyte that would be taken for a bomb.
    using(target, (client) => exchange(client, mebibyte / 2), {
      "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
    }),

  "pings while a call goes on": (target) =>
    using(
      target,
      async (client) => {
        const slow = { responseParameters: [{ size: 1 }, { size: 1, intervalUs: 700_000 }] }
        const answers = await take(serverStream(client, TestService.method.streamingOutputCall, slow))
        assert.equal(answers.length, 2)
      },
      // A ping that isn't answered within its timeout ends the connection, and with it the call.
      { "grpc.keepalive_time_ms": 100, "grpc.keepalive_timeout_ms": 300 },
    ),
}

if (import.meta.main) {
  const [address = "", ca, name = ""] = process.argv.slice(2)
  await goThrough(cases, { address, secure: ca === undefined ? undefined : { ca: readFileSync(ca), name } })
}
