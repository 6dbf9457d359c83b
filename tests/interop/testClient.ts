/**
 * Our client, as it is let loose on servers of others: the cases of gRPC's own interop clients that need no cloud, and
 * some more. `testClient.ts <url> [<protocol> [<file with the CA> <name in the server's certificate>]]`.
 *
 * Source: grpc/doc/interop-test-descriptions.md, whose names the first cases have.
 */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import process from "node:process"
import { type Cause, Effect, Exit, Fiber, Queue, type Scope, Stream } from "effect"
import {
  type Channel,
  deadline,
  intercept,
  Metadata,
  metadata,
  type ResponseMetadata,
  type RpcError,
} from "../../src/core/mod.ts"
import {
  type AddressError,
  Client,
  type ConnectOptions,
  compression,
  connect,
  gzip,
  protocols,
} from "../../src/transport/mod.ts"
import { type Cases, goThrough } from "./clients/cases.ts"
import { TestService, UnimplementedService } from "./gen/grpc/testing/test_pb.ts"
import { upTo } from "./numbers.ts"

interface Target {
  readonly address: string
  readonly options: ConnectOptions
}

type Body = Effect.Effect<void, RpcError | AddressError | Cause.NoSuchElementError, Scope.Scope>

/** A case of a channel, which is closed behind it. */
const on =
  (body: (channel: Channel) => Body) =>
  ({ address, options }: Target): Promise<void> =>
    Effect.runPromise(Effect.scoped(Effect.flatMap(connect(address, options), body)))

const testOf = (channel: Channel) => Client.make(TestService, channel)

const zeros = (size: number) => ({ payload: { body: new Uint8Array(size) } })

const requestSizes = [27_182, 8, 1828, 45_904]
const responseSizes = [31_415, 9, 2653, 58_979]

const largeUnary = Effect.fnUntraced(function* (channel: Channel) {
  const { payload } = yield* testOf(channel).unaryCall({ responseSize: 314_159, ...zeros(271_828) })
  assert.equal(payload?.body.length, 314_159)
})

const clientStreaming = Effect.fnUntraced(function* (channel: Channel, sizes: ReadonlyArray<number> = requestSizes) {
  const requests = Stream.map(Stream.fromIterable(sizes), zeros)
  const { aggregatedPayloadSize } = yield* testOf(channel).streamingInputCall(requests)
  assert.equal(
    aggregatedPayloadSize,
    sizes.reduce((sum, size) => sum + size),
  )
})

const serverStreaming = Effect.fnUntraced(function* (channel: Channel, sizes: ReadonlyArray<number> = responseSizes) {
  const asked = { responseParameters: sizes.map((size) => ({ size })) }
  const answers = yield* Stream.runCollect(testOf(channel).streamingOutputCall(asked))
  assert.deepEqual(
    answers.map(({ payload }) => payload?.body.length),
    sizes,
  )
})

/** A call that must fail. */
const failing = <A>(call: Effect.Effect<A, RpcError>): Effect.Effect<RpcError> =>
  Effect.catch(Effect.flip(call), () => assert.fail("the call succeeded"))

/** A unary call, and a stream both ways of one request, that fail as their request asks. */
const failures = Effect.fnUntraced(function* (channel: Channel, code: number, message: string) {
  const test = testOf(channel)
  const responseStatus = { code, message }
  return [
    yield* failing(test.unaryCall({ responseStatus })),
    yield* failing(Stream.runDrain(test.fullDuplexCall(Stream.make({ responseStatus })))),
  ]
})

const initialKey = "x-grpc-test-echo-initial"
const trailingKey = "x-grpc-test-echo-trailing-bin"
const echoed = { [initialKey]: "test_initial_metadata_value", [trailingKey]: new Uint8Array([0xab, 0xab, 0xab]) }

const assertEchoed = (header: Metadata.Metadata, trailer: Metadata.Metadata): void => {
  assert.equal(Metadata.get(header, initialKey), echoed[initialKey])
  // A runtime's Buffer is as good as any other bytes.
  assert.deepEqual(Uint8Array.from(bytesOf(Metadata.get(trailer, trailingKey))), echoed[trailingKey])
}

const bytesOf = (value: Metadata.Value | undefined): Uint8Array =>
  value instanceof Uint8Array ? value : assert.fail(`no bytes: ${value}`)

/** Keeps what came beside the messages of a channel's last call. */
const listening = (channel: Channel) => {
  let last: ResponseMetadata | undefined
  const listened = channel.pipe(
    intercept((call, next) => {
      last = call.response
      return next(call)
    }),
  )
  return { listened, heard: () => last ?? assert.fail("no call was made") }
}

/** What any server of the test service must be able to do. */
export const cases: Cases<Target> = {
  empty_unary: on((channel) => Effect.asVoid(testOf(channel).emptyCall({}))),

  large_unary: on(largeUnary),

  client_streaming: on((channel) => clientStreaming(channel)),

  server_streaming: on((channel) => serverStreaming(channel)),

  ping_pong: on((channel) =>
    Effect.gen(function* () {
      const requests = yield* Queue.unbounded<number, Cause.Done>()
      const ask = (index: number) => (index < requestSizes.length ? Queue.offer(requests, index) : Queue.end(requests))
      yield* ask(0)
      const sent = Stream.map(Stream.fromQueue(requests), (index) => ({
        responseParameters: [{ size: responseSizes[index] ?? 0 }],
        ...zeros(requestSizes[index] ?? 0),
      }))
      const sizes: Array<number | undefined> = []
      yield* Stream.runForEach(testOf(channel).fullDuplexCall(sent), ({ payload }) =>
        ask(sizes.push(payload?.body.length)),
      )
      assert.deepEqual(sizes, responseSizes)
    }),
  ),

  empty_stream: on((channel) =>
    Effect.gen(function* () {
      assert.deepEqual(yield* Stream.runCollect(testOf(channel).fullDuplexCall(Stream.empty)), [])
    }),
  ),

  timeout_on_sleeping_server: on((channel) =>
    Effect.gen(function* () {
      const requests = Stream.concat(Stream.make(zeros(27_182)), Stream.never)
      const hurried = testOf(channel.pipe(deadline("1 millis")))
      assert.equal((yield* failing(Stream.runDrain(hurried.fullDuplexCall(requests)))).code, "deadline_exceeded")
    }),
  ),

  // Who cancels a call here interrupts it, and hears no code; the connection must be none the worse.
  cancel_after_begin: on((channel) =>
    Effect.gen(function* () {
      const begun = yield* Queue.unbounded<void>()
      const requests = Stream.concat(Stream.fromEffectDrain(Queue.offer(begun, undefined)), Stream.never)
      const call = yield* Effect.forkChild(testOf(channel).streamingInputCall(requests))
      yield* Queue.take(begun)
      yield* Fiber.interrupt(call)
      assert.ok(Exit.hasInterrupts(yield* Fiber.await(call)))
      yield* testOf(channel).emptyCall({})
    }),
  ),

  cancel_after_first_response: on((channel) =>
    Effect.gen(function* () {
      const ended = yield* Queue.unbounded<void>()
      const first = { responseParameters: [{ size: 31_415 }], ...zeros(27_182) }
      const requests = Stream.ensuring(Stream.concat(Stream.make(first), Stream.never), Queue.offer(ended, undefined))
      const answers = yield* Stream.runCollect(Stream.take(testOf(channel).fullDuplexCall(requests), 1))
      assert.equal(answers[0]?.payload?.body.length, 31_415)
      yield* Queue.take(ended)
      yield* testOf(channel).emptyCall({})
    }),
  ),

  status_code_and_message: on((channel) =>
    Effect.gen(function* () {
      for (const { code, message } of yield* failures(channel, 2, "test status message")) {
        assert.deepEqual({ code, message }, { code: "unknown", message: "test status message" })
      }
    }),
  ),

  special_status_message: on((channel) =>
    Effect.gen(function* () {
      const special = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
      for (const { code, message } of yield* failures(channel, 2, special)) {
        assert.deepEqual({ code, message }, { code: "unknown", message: special })
      }
    }),
  ),

  custom_metadata: on((channel) =>
    Effect.gen(function* () {
      const { listened, heard } = listening(channel.pipe(metadata(echoed)))
      yield* largeUnary(listened)
      assertEchoed(heard().header, heard().trailer)
      const request = { responseParameters: [{ size: 314_159 }], ...zeros(271_828) }
      yield* Stream.runDrain(testOf(listened).fullDuplexCall(Stream.make(request)))
      assertEchoed(heard().header, heard().trailer)
    }),
  ),

  unimplemented_method: on((channel) =>
    Effect.gen(function* () {
      assert.equal((yield* failing(testOf(channel).unimplementedCall({}))).code, "unimplemented")
    }),
  ),

  unimplemented_service: on((channel) =>
    Effect.gen(function* () {
      const client = Client.make(UnimplementedService, channel)
      assert.equal((yield* failing(client.unimplementedCall({}))).code, "unimplemented")
    }),
  ),

  "an error has the metadata that came before it and with it": on((channel) =>
    Effect.gen(function* () {
      for (const { code, header, metadata: trailer } of yield* failures(channel.pipe(metadata(echoed)), 9, "no")) {
        assert.equal(code, "failed_precondition")
        // Connect-ES has both in one where nothing of the answer had begun.
        assertEchoed(header.length > 0 ? header : trailer, trailer)
      }
    }),
  ),

  "a deadline that passes between two answers": on((channel) =>
    Effect.gen(function* () {
      const late = { responseParameters: [{ size: 1 }, { size: 1, intervalUs: 3_000_000 }] }
      let answers = 0
      const client = testOf(channel.pipe(deadline("500 millis")))
      const counted = Stream.runForEach(client.streamingOutputCall(late), () => Effect.sync(() => answers++))
      assert.equal((yield* failing(counted)).code, "deadline_exceeded")
      assert.equal(answers, 1)
    }),
  ),

  "a hundred calls of 64 KiB at once": on((channel) =>
    Effect.gen(function* () {
      const call = testOf(channel).unaryCall({ responseSize: 65_536, ...zeros(65_536) })
      const answers = yield* Effect.all(
        upTo(100).map(() => call),
        { concurrency: "unbounded" },
      )
      for (const { payload } of answers) assert.equal(payload?.body.length, 65_536)
    }),
  ),

  "an answer over our limit is refused, and the connection lives on": on((channel) =>
    Effect.gen(function* () {
      const { code } = yield* failing(testOf(channel).unaryCall({ responseSize: 5 * 1024 * 1024 }))
      assert.equal(code, "resource_exhausted")
      yield* largeUnary(channel)
    }),
  ),
}

const sending = compression([gzip], { minBytes: 0 })
// Nothing is as long, so that only answers are compressed.
const accepting = compression([gzip], { minBytes: Number.POSITIVE_INFINITY })

/**
 * For servers that have gzip. None of them is asked to refuse what isn't compressed, as gRPC's own do: that it is, is to
 * be seen in the bytes.
 */
export const compressedCases: Cases<Target> = {
  client_compressed_unary: on((channel) => largeUnary(channel.pipe(sending))),

  server_compressed_unary: on((channel) => largeUnary(channel.pipe(accepting))),

  client_compressed_streaming: on((channel) => clientStreaming(channel.pipe(sending), [27_182, 45_904])),

  server_compressed_streaming: on((channel) => serverStreaming(channel.pipe(accepting), [31_415, 92_653])),
}

if (import.meta.main) {
  const [address = "", name, ca, serverName = ""] = process.argv.slice(2)
  const protocol = protocols.find((one) => one === name) ?? "grpc"
  const tls = ca === undefined ? {} : { tls: { ca: readFileSync(ca, "utf8"), serverName } }
  await goThrough({ ...cases, ...compressedCases }, { address, options: { protocol, ...tls } })
}
