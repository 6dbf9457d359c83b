/**
 * A service: the programs of one protobuf service and the layers around them. It is a value that any transport can
 * serve; how a call of it is run, which all transports share, is here too.
 */
import { Cause, Context, Effect, Pipeable, Stream } from "effect"
import { Call, type CallInfo, type Method } from "./call.ts"
import * as Deadline from "./deadline.ts"
import { RpcError } from "./error.ts"
import { aroundStream, type Layered, none, unlayered } from "./interceptor.ts"
import type { MetadataError } from "./metadata.ts"
import { printableCause } from "./printable.ts"

type Message = unknown
type Messages = Stream.Stream<unknown, RpcError>
type Answer<R> = Effect.Effect<unknown, RpcError, R>
type Answers<R> = Stream.Stream<unknown, RpcError, R>

/**
 * A method and the program that serves it. Messages are unknown here: whoever makes a service out of a descriptor
 * checks their types, and sees to it that programs get whole messages and that their answers are made whole.
 */
export type Handler<R> = { readonly method: Method } & (
  | { readonly kind: "unary"; readonly run: (request: Message) => Answer<R> }
  | { readonly kind: "server_streaming"; readonly run: (request: Message) => Answers<R> }
  | { readonly kind: "client_streaming"; readonly run: (requests: Messages) => Answer<R> }
  | { readonly kind: "bidi_streaming"; readonly run: (requests: Messages) => Answers<R> }
)

/**
 * The programs of one service with the layers around them. `D` is the descriptor it was made of, `R` what its programs
 * need.
 */
export interface Service<out D, out R = never> extends Layered, Pipeable.Pipeable {
  readonly descriptor: D
  /** By the method's name. A method of the descriptor that isn't here answers `unimplemented`. */
  readonly handlers: ReadonlyMap<string, Handler<R>>
  /** How long its calls may run, their layers included: who runs a call ends it in time. */
  readonly limit: Deadline.Limit
}

/** Puts something around a service. The order in `pipe` is the order outward. */
export type ServiceLayer = <D, R>(service: Service<D, R>) => Service<D, R>

/** A service of handlers whose types have been checked already, as the transport's `Service.make` does it. */
export const fromHandlers = <D, R>(descriptor: D, handlers: ReadonlyArray<Handler<R>>): Service<D, R> => ({
  ...unlayered,
  ...Pipeable.Prototype,
  descriptor,
  handlers: new Map(handlers.map((handler) => [handler.method.name, handler])),
  limit: Deadline.unlimited,
})

/** The error of a call to a method that has no program. */
export const unimplemented = (path: string): RpcError =>
  new RpcError({ code: "unimplemented", message: `${path} is not served here` })

/** What the peer learns of a mistake of ours. What was wrong is for the log. */
export const internalError = (): RpcError => new RpcError({ code: "internal", message: "internal error" })

/**
 * Logs that a response has metadata that can't be sent, which is the program's mistake. Nothing of that metadata is sent
 * then, and the call ends with `internalError`.
 */
export const logUnsendable = (method: Method, { message }: MetadataError): Effect.Effect<void> =>
  Effect.logError(`${method.service}/${method.name} has a response that can't be sent: ${message}`)

type Guard = (cause: Cause.Cause<RpcError>) => Effect.Effect<never, RpcError>

const guard =
  (method: Method): Guard =>
  (cause) =>
    Cause.hasDies(cause)
      ? Effect.andThen(
          Effect.logError(`${method.service}/${method.name} died`, printableCause(cause)),
          Effect.fail(internalError()),
        )
      : Effect.failCause(cause)

// One a method: `catchCause` looks at its function's length, which takes half a microsecond for one that is new.
const guards = new WeakMap<Method, Guard>()

const hideDefects = (method: Method): Guard => {
  let known = guards.get(method)
  if (known === undefined) {
    known = guard(method)
    guards.set(method, known)
  }
  return known
}

/**
 * What a program finds in its context: the call that it serves, and the deadline that calls of its own inherit. With
 * `Call` there is all that it needs.
 */
export const serving =
  <R>(call: CallInfo) =>
  (context: Context.Context<Exclude<R, Call>>): Context.Context<R> => {
    const withCall = Context.add(context, Call, call)
    return (
      call.deadline === undefined ? withCall : Context.add(withCall, Deadline.Current, call.deadline)
    ) as Context.Context<R>
  }

/** Runs a program inside a service's layers alone. The context has the call already, unless they change it. */
export const inside = <R>(
  { around }: Layered,
  call: CallInfo,
  program: Effect.Effect<unknown, RpcError, R>,
): Effect.Effect<unknown, RpcError, R> =>
  around(call, (inner) => (inner === call ? program : Effect.updateContext(program, serving<R>(inner))))

const guarded = <A, R>(
  { method }: CallInfo,
  layered: () => Effect.Effect<A, RpcError, R>,
): Effect.Effect<A, RpcError, R> =>
  // Suspended, an interceptor that throws is a defect like any other.
  Effect.catchCause(Effect.suspend(layered), hideDefects(method))

/**
 * Runs a program as a call of a service: inside its layers; a defect is logged and becomes `internal`. It is for a
 * transport that gives it the context of `serving`, and interrupts it at the call's deadline.
 */
export const respond = <R>(
  service: Layered,
  call: CallInfo,
  program: Effect.Effect<unknown, RpcError, R>,
): Effect.Effect<unknown, RpcError, R> => guarded(call, () => inside(service, call, program))

/** The same with the call in its context, and interrupted at its deadline. */
export const respondInTime = <R>(
  service: Layered,
  call: CallInfo,
  program: Effect.Effect<unknown, RpcError, R>,
): Effect.Effect<unknown, RpcError, Exclude<R, Call>> =>
  Effect.updateContext(Deadline.enforce(respond(service, call, program), call.deadline), serving<R>(call))

/** The same for a program that gives a stream of answers. */
export const respondStream = <R>(
  { around }: Layered,
  call: CallInfo,
  program: Stream.Stream<unknown, RpcError, R>,
): Stream.Stream<unknown, RpcError, Exclude<R, Call>> => {
  const answers =
    // Without a layer or a deadline nothing has to see the stream's end but the defects' guard.
    around === none && call.deadline === undefined
      ? Stream.catchCause(program, (cause) => Stream.fromEffect(hideDefects(call.method)(cause)))
      : aroundStream(
          (outer, next) =>
            Deadline.enforce(
              guarded(outer, () => around(outer, next)),
              outer.deadline,
            ),
          call,
          (inner) => (inner === call ? program : Stream.updateContext(program, serving<R>(inner))),
        )
  return Stream.updateContext(answers, serving<R>(call))
}
