/**
 * What several tests of the core need: a service of all four kinds, ways to watch, and properties of Effects.
 */
import { Cause, Effect, Layer, Logger, Stream, Tracer } from "effect"
import fc from "fast-check"
import type { CallLayer } from "../../src/core/layers/intercept.ts"
import { type Call, type CallInfo, type Kind, type Method, noResponse } from "../../src/core/rpc/call.ts"
import { type Channel, type ChannelLayer, inMemory } from "../../src/core/rpc/channel.ts"
import type { RpcError } from "../../src/core/rpc/error.ts"
import * as Metadata from "../../src/core/rpc/metadata.ts"
import type { Service as ServiceOf } from "../../src/core/rpc/service.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"

export type PiService<R = never> = ServiceOf<typeof PiCalculator, R>
export type PiClient = Client.Client<typeof PiCalculator>

/**
 * A service that has one program of each kind. Each first does what it is given, then answers: `calc` its n,
 * `calcStream` and `calcRange` a point for each number asked, `summarize` a count.
 */
export const serving = <R>(first: Effect.Effect<unknown, RpcError, R>): PiService<R> =>
  Service.partial(PiCalculator, {
    calc: ({ n }) => Effect.as(first, { value: n }),
    calcStream: (requests) =>
      Stream.unwrap(
        Effect.as(
          first,
          Stream.map(requests, ({ n }) => ({ n, value: n })),
        ),
      ),
    calcRange: ({ first: from, last }) =>
      Stream.unwrap(
        Effect.as(
          first,
          Stream.map(Stream.range(from, last), (n) => ({ n, value: n })),
        ),
      ),
    summarize: (requests) =>
      Effect.andThen(
        first,
        Effect.map(Stream.runCount(requests), (count) => ({ count })),
      ),
  })

/** The same, with nothing to do first. */
export const echo: PiService = serving(Effect.void)

/** A client of a service in memory, over a channel with layers. */
export const clientOf = <R>(
  service: PiService<R>,
  layer: ChannelLayer = (channel: Channel) => channel,
): Effect.Effect<PiClient, never, Exclude<R, Call>> =>
  Effect.map(inMemory(service), (channel) => Client.make(PiCalculator, layer(channel)))

/** Makes a call and gives all its answers. */
export type Ask = (client: PiClient) => Effect.Effect<ReadonlyArray<number>, RpcError>

export interface Asked {
  readonly kind: Kind
  /** The method's name. */
  readonly name: string
  readonly ask: Ask
  /** What `serving` answers. */
  readonly answers: ReadonlyArray<number>
}

/** The values of points. */
export const valuesOf = (points: Stream.Stream<{ readonly value: number }, RpcError>) =>
  Stream.runCollect(Stream.map(points, ({ value }) => value))
const requests = Stream.make({ n: 1 }, { n: 2 }, { n: 3 })

/** A call of each kind. */
export const kinds: ReadonlyArray<Asked> = [
  {
    kind: "unary",
    name: "Calc",
    ask: (client) => Effect.map(client.calc({ n: 3 }), ({ value }) => [value]),
    answers: [3],
  },
  {
    kind: "server_streaming",
    name: "CalcRange",
    ask: (client) => valuesOf(client.calcRange({ first: 1, last: 3 })),
    answers: [1, 2, 3],
  },
  {
    kind: "client_streaming",
    name: "Summarize",
    ask: (client) => Effect.map(client.summarize(requests), ({ count }) => [count]),
    answers: [3],
  },
  {
    kind: "bidi_streaming",
    name: "CalcStream",
    ask: (client) => valuesOf(client.calcStream(requests)),
    answers: [1, 2, 3],
  },
]

type Body = ReturnType<Parameters<typeof test>[1]>

/** A test for each of the four kinds of methods. */
export const testEachKind = (name: string, body: (asked: Asked) => Body, on: typeof test = test): void => {
  for (const asked of kinds) on(`${name} (${asked.kind})`, () => body(asked))
}

/** Layers as one, in the order of a pipe. */
export const piped =
  (...layers: ReadonlyArray<CallLayer>): CallLayer =>
  (target) =>
    layers.reduce((inner, layer) => layer(inner), target)

export interface Layered extends Asked {
  /** A client of a service with the layer on one side of it. */
  readonly put: <R>(service: PiService<R>, layer: CallLayer) => Effect.Effect<PiClient, never, Exclude<R, Call>>
  readonly side: "service" | "channel"
}

/** A test for a layer on a service and on a channel, for each of the four kinds of methods. */
export const testEachSide = (name: string, body: (layered: Layered) => Body, on: typeof test = test): void => {
  for (const asked of kinds) {
    on(`${name} (service, ${asked.kind})`, () =>
      body({ ...asked, side: "service", put: (service, layer) => clientOf(layer(service)) }),
    )
    on(`${name} (channel, ${asked.kind})`, () => body({ ...asked, side: "channel", put: clientOf }))
  }
}

export const method: Method = {
  service: "pi.PiCalculator",
  name: "Calc",
  kind: "unary",
  idempotency: "unknown",
  messages: {
    encodeRequest: () => new Uint8Array(1),
    encodeAnswer: () => new Uint8Array(1),
    decodeAnswer: () => ({ value: 0 }),
  },
}

/** A call for functions that take one. */
export const callWith = (fields: Partial<CallInfo> = {}): CallInfo => ({
  method,
  metadata: Metadata.empty,
  deadline: undefined,
  peer: { address: undefined },
  response: noResponse(),
  ...fields,
})

/** A property of whatever Effects do. */
export const property = <A>(
  arbitrary: fc.Arbitrary<A>,
  holds: (value: A) => Effect.Effect<unknown, unknown>,
  parameters: fc.Parameters<[A]> = {},
): Effect.Effect<void> =>
  Effect.promise(() =>
    fc.assert(
      fc.asyncProperty(arbitrary, async (value) => {
        await Effect.runPromise(holds(value))
      }),
      parameters,
    ),
  )

export interface Logged {
  readonly level: string
  readonly text: string
  readonly cause: string
}

/** What the log gets, in place of the console. */
export const logInto = (lines: Array<Logged>): Layer.Layer<never> =>
  Logger.layer([
    Logger.make(({ logLevel, message, cause }) => {
      lines.push({ level: logLevel, text: [message].flat().map(String).join(" "), cause: Cause.pretty(cause) })
    }),
  ])

/** What becomes a span, in the order that they began. */
export const traceInto = (spans: Array<Tracer.NativeSpan>): Layer.Layer<never> =>
  Layer.succeed(
    Tracer.Tracer,
    Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      },
    }),
  )

/** Lets all other fibers run until they wait. */
export const settle: Effect.Effect<void> = Effect.replicateEffect(Effect.yieldNow, 50, { discard: true })
