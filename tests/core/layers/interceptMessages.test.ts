import assert from "node:assert/strict"
import { Effect, Predicate, Stream } from "effect"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { interceptMessages, type MessageInterceptors } from "../../../src/core/layers/interceptMessages.ts"
import type { Kind } from "../../../src/core/rpc/call.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { test } from "../../effect.ts"
import { clientOf, echo, type PiService, testEachKind } from "../support.ts"

const aborted = new RpcError({ code: "aborted", message: "again" })

/** A client with the layer on the service, and one with it on the channel. */
const onBothSides = (service: PiService, interceptors: MessageInterceptors) => {
  const layer = interceptMessages(interceptors)
  return Effect.all([clientOf(layer(service)), clientOf(service, layer)])
}

/** The fields of a message. */
const fieldsOf = (message: unknown): Record<string, unknown> =>
  Object.fromEntries(Object.entries(Object(message)).filter(([key]) => key !== "$typeName"))

/** A message with each of its numbers changed. */
const changed =
  (change: (n: number) => number) =>
  (message: unknown): Effect.Effect<unknown> =>
    Effect.succeed(
      Object.assign(
        Object(message),
        Object.fromEntries(
          Object.entries(fieldsOf(message)).flatMap(([key, value]) =>
            Predicate.isNumber(value) ? [[key, change(value)]] : [],
          ),
        ),
      ),
    )

const points = [1, 2, 3].map((n) => ({ n, value: n }))
const numbers = [1, 2, 3].map((n) => ({ n }))

// What passes in a call of each kind.
const messages: Record<Kind, { readonly requests: ReadonlyArray<object>; readonly responses: ReadonlyArray<object> }> =
  {
    unary: { requests: [{ n: 3 }], responses: [{ value: 3 }] },
    server_streaming: { requests: [{ first: 1, last: 3 }], responses: points },
    client_streaming: { requests: numbers, responses: [{ count: 3, min: 0, max: 0, meanError: 0 }] },
    bidi_streaming: { requests: numbers, responses: points },
  }

testEachKind("each request and each response is seen, in order, with its call", ({ ask, answers, kind, name }) =>
  Effect.gen(function* () {
    let requests: Array<unknown> = []
    let responses: Array<unknown> = []
    const clients = yield* onBothSides(echo, {
      request: (message, call) =>
        Effect.sync(() => {
          requests.push([fieldsOf(message), call.method.name])
          return message
        }),
      response: (message, call) =>
        Effect.sync(() => {
          responses.push([fieldsOf(message), call.method.name])
          return message
        }),
    })
    for (const client of clients) {
      requests = []
      responses = []
      assert.deepEqual(yield* ask(client), answers)
      assert.deepEqual(
        { requests, responses },
        {
          requests: messages[kind].requests.map((message) => [message, name]),
          responses: messages[kind].responses.map((message) => [message, name]),
        },
      )
    }
  }),
)

testEachKind("what is given in a request's place reaches the program", ({ ask, kind }) =>
  Effect.gen(function* () {
    for (const client of yield* onBothSides(echo, { request: changed((n) => n + 10) })) {
      const moved = { unary: [13], server_streaming: [11, 12, 13], client_streaming: [3], bidi_streaming: [11, 12, 13] }
      assert.deepEqual(yield* ask(client), moved[kind])
    }
  }),
)

testEachKind("what is given in a response's place reaches the client", ({ ask, answers }) =>
  Effect.gen(function* () {
    for (const client of yield* onBothSides(echo, { response: changed((n) => -n) })) {
      assert.deepEqual(
        yield* ask(client),
        answers.map((n) => -n),
      )
    }
  }),
)

testEachKind("a failure at a request or a response ends the call with that error", ({ ask }) =>
  Effect.gen(function* () {
    const fail = () => Effect.fail(aborted)
    for (const interceptors of [{ request: fail }, { response: fail }]) {
      for (const client of yield* onBothSides(echo, interceptors)) {
        assert.equal(yield* Effect.flip(ask(client)), aborted)
      }
    }
  }),
)

test("a stream gives what came before the message that fails", () =>
  Effect.gen(function* () {
    const failAt = (last: number) => (message: unknown) =>
      fieldsOf(message).n === last ? Effect.fail(aborted) : Effect.succeed(message)
    for (const interceptors of [{ request: failAt(3) }, { response: failAt(3) }]) {
      for (const { calcStream } of yield* onBothSides(echo, interceptors)) {
        const taken: Array<number> = []
        const points = calcStream(Stream.make({ n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }))
        const error = yield* Effect.flip(Stream.runForEach(points, ({ n }) => Effect.sync(() => taken.push(n))))
        assert.deepEqual([error, taken], [aborted, [1, 2]])
      }
    }
  }))

testEachKind("of two the later one sees a request first and a response last", ({ ask }) =>
  Effect.gen(function* () {
    let events: Array<string> = []
    const noting = (name: string) => {
      const note = (event: string) => (message: unknown) =>
        Effect.sync(() => {
          events.push(event)
          return message
        })
      return interceptMessages({ request: note(`${name} request`), response: note(`${name} response`) })
    }
    const [inner, outer] = [noting("inner"), noting("outer")]
    const clients = [yield* clientOf(outer(inner(echo))), yield* clientOf(echo, (channel) => outer(inner(channel)))]
    for (const client of clients) {
      events = []
      yield* ask(client)
      const first = (event: string) => {
        assert.ok(events.includes(event), event)
        return events.indexOf(event)
      }
      assert.ok(first("outer request") < first("inner request"))
      assert.ok(first("inner response") < first("outer response"))
    }
  }),
)

testEachKind("it runs inside of every intercept, wherever it stands in the pipe", ({ ask }) =>
  Effect.gen(function* () {
    let seen = 0
    const seeing = interceptMessages({
      request: (message) =>
        Effect.sync(() => {
          seen += 1
          return message
        }),
    })
    const refusing = intercept(() => Effect.fail(aborted))
    for (const client of [
      yield* clientOf(refusing(seeing(echo))),
      yield* clientOf(seeing(refusing(echo))),
      yield* clientOf(echo, (channel) => refusing(seeing(channel))),
      yield* clientOf(echo, (channel) => seeing(refusing(channel))),
    ]) {
      assert.equal(yield* Effect.flip(ask(client)), aborted)
    }
    assert.equal(seen, 0)
  }),
)
