/**
 * `Service.make`: a service of a protobuf descriptor and its programs, checked by the compiler.
 */
import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf"
import { Effect, Stream } from "effect"
import type { RpcError } from "../core/rpc/error.ts"
import { fromHandlers, type Handler, type Service } from "../core/rpc/service.ts"
import { type DescMethod, type DescService, protoMethod } from "./method.ts"
import { createChecked } from "./protobuf/check.ts"

export type { Service, ServiceLayer } from "../core/rpc/service.ts"

type Requests<I extends DescMessage> = Stream.Stream<MessageShape<I>, RpcError>
type Answer<O extends DescMessage, R> = Effect.Effect<MessageInitShape<O>, RpcError, R>
type Answers<O extends DescMessage, R> = Stream.Stream<MessageInitShape<O>, RpcError, R>

/** The program of a method: a stream in is a `Stream`, a stream out is a `Stream`. */
export type Program<M extends DescMethod, R> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>) => Answer<O, R>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>) => Answers<O, R>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: Requests<I>) => Answer<O, R>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: Requests<I>) => Answers<O, R>
          : never

/** The programs of a service, by the method's name in lower camel case. */
export type Programs<D extends DescService, R> = { readonly [K in keyof D["method"]]: Program<D["method"][K], R> }

/** What the programs need, all together. */
type Needs<P> = {
  [K in keyof P]: P[K] extends (input: never) => Effect.Effect<infer _A, infer _E, infer R>
    ? R
    : P[K] extends (input: never) => Stream.Stream<infer _A, infer _E, infer R>
      ? R
      : never
}[keyof P]

// A name that the service doesn't have is a mistake, not an extra.
type NoOthers<D extends DescService, P> = { readonly [K in Exclude<keyof P, keyof D["method"]>]: never }

/**
 * A service whose programs are all there: a missing or mistyped one doesn't compile.
 *
 * @example
 * const pi = Service.make(PiCalculator, { calc: ({ n }) => Effect.map(closedForm(n), (value) => ({ value })), … })
 */
export const make = <D extends DescService, const P extends Programs<D, unknown>>(
  descriptor: D,
  programs: P & NoOthers<D, P>,
): Service<D, Needs<P>> => partial<D, P>(descriptor, programs)

/** A service of which only some methods have a program. The others answer `unimplemented`. */
export const partial = <D extends DescService, const P extends Partial<Programs<D, unknown>>>(
  descriptor: D,
  programs: P & NoOthers<D, P>,
): Service<D, Needs<P>> =>
  fromHandlers(
    descriptor,
    descriptor.methods.flatMap((desc) => {
      const program: unknown = Reflect.get(programs, desc.localName)
      return typeof program === "function" ? [handler<Needs<P>>(desc, program)] : []
    }),
  )

// The one place where the types that `Programs` has checked are given up for the core's unknown messages. Suspended, a
// program that throws before it gives its Effect or Stream is a defect like any other.
const handler = <R>(desc: DescMethod, program: object): Handler<R> => {
  const method = protoMethod(desc)
  const whole = (answer: unknown) => createChecked(desc.output, answer)
  if (desc.methodKind === "unary" || desc.methodKind === "client_streaming") {
    const run = program as (input: unknown) => Effect.Effect<unknown, RpcError, R>
    return {
      method,
      kind: desc.methodKind,
      run: (input: unknown) =>
        Effect.map(
          Effect.suspend(() => run(input)),
          whole,
        ),
    }
  }
  const run = program as (input: unknown) => Stream.Stream<unknown, RpcError, R>
  return {
    method,
    kind: desc.methodKind,
    run: (input: unknown) =>
      Stream.map(
        Stream.suspend(() => run(input)),
        whole,
      ),
  }
}
