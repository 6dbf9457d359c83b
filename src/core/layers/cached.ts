/**
 * `cached`: answers calls with what was answered before.
 */
import { Cause, Context, Deferred, Duration, Effect, Exit, Option } from "effect"
import { messageKey } from "../cache/messageKey.ts"
import { Patience, type PatienceOptions } from "../cache/patience.ts"
import type { Entry, Store } from "../cache/store.ts"
import { Call, type Method, path } from "../rpc/call.ts"
import type { RpcError } from "../rpc/error.ts"
import { type Interceptor, none } from "../rpc/interceptor.ts"
import { type Handler, inside, type Service } from "../rpc/service.ts"

export interface CachedOptions extends PatienceOptions {
  /** How long an answer is given again. Default: 1 minute. */
  readonly ttl?: Duration.Input
  /** A request that takes more characters than this to tell from others is neither looked for nor kept. Default: 512. */
  readonly maxKeyLength?: number
}

/**
 * A layer that answers unary methods without side effects (`idempotency_level = NO_SIDE_EFFECTS`) out of a store, and keeps
 * there what they answer. All other methods pass it. The key is the method and the request, so an answer has to
 * depend on nothing else: not on the caller, nor on metadata.
 *
 * However many ask at once, one of them computes the answer and the others wait for it. If that one is cancelled or its
 * deadline passes, another takes its place; any other failure is given to all of them, and not kept.
 *
 * What stands before it in the pipe runs only where there is no answer yet; what stands behind it runs in each call. So
 * whoever decides who may call stands behind it. Response metadata isn't kept: only the call that computes the answer sends
 * it.
 *
 * A store that fails or dawdles is done without: a call waits for it no longer than `patience`, and then nobody asks it for
 * as long as `restFor`. What can't be decoded is computed anew.
 *
 * @example
 * const pi = Service.make(PiCalculator, calculator).pipe(cached(yield* memory(), { ttl: "10 minutes" }), deadline("5 seconds"))
 */
export const cached = (store: Store, options: CachedOptions = {}) => {
  const patience = new Patience(options)
  const ttl = Duration.fromInputUnsafe(options.ttl ?? "1 minute")
  const maxKeyLength = options.maxKeyLength ?? 512

  return <D, R>(service: Service<D, R>): Service<D, R | Call> => {
    const handlers = new Map(
      Array.from(service.handlers, ([name, handler]): [string, Handler<R | Call>] => {
        const { method, kind } = handler
        if (kind !== "unary" || method.idempotency !== "no_side_effects") return [name, handler]
        const answers = new Answers({ store, patience, ttl, maxKeyLength }, method)
        const run = (request: unknown) =>
          Effect.contextWith((context: Context.Context<R | Call>) =>
            answers.find(
              request,
              context,
              // The layers that the service has so far run in here, where there is something to compute.
              Effect.suspend(() => {
                const program = handler.run(request)
                return service.around === none ? program : inside(service, Context.get(context, Call), program)
              }),
            ),
          )
        return [name, { method, kind, run }]
      }),
    )
    const around: Interceptor = (call, next) =>
      handlers.get(call.method.name) === service.handlers.get(call.method.name)
        ? service.around(call, next)
        : next(call)
    return { ...service, handlers, around: service.around === none ? none : around }
  }
}

interface Keeping {
  readonly store: Store
  readonly patience: Patience
  readonly ttl: Duration.Duration
  readonly maxKeyLength: number
}

/** What became of a computation: the encoded answer or a failure for all; `undefined` if another must be begun. */
type Computed = Exit.Exit<Uint8Array, RpcError> | undefined

const nothing: Exit.Exit<undefined> = Exit.succeed(undefined)

/** The answers of a method. */
class Answers {
  private readonly keeping: Keeping
  private readonly method: Method
  private readonly prefix: string
  // Each is a call that runs.
  private readonly computing = new Map<string, Deferred.Deferred<Computed>>()

  constructor(keeping: Keeping, method: Method) {
    this.keeping = keeping
    this.method = method
    this.prefix = `${path(method)}?`
  }

  /** The answer to a request: one that is kept, or is being computed, or that `compute` gives. */
  find<R>(
    request: unknown,
    context: Context.Context<R>,
    compute: Effect.Effect<unknown, RpcError, R>,
  ): Effect.Effect<unknown, RpcError, R> {
    const key = messageKey(request, this.keeping.maxKeyLength)
    return key === undefined ? compute : this.look(this.prefix + key, context, compute)
  }

  private look<R>(
    key: string,
    context: Context.Context<R>,
    compute: Effect.Effect<unknown, RpcError, R>,
  ): Effect.Effect<unknown, RpcError, R> {
    const running = this.computing.get(key)
    if (running !== undefined) return this.follow(key, running, context, compute)
    const { store, patience } = this.keeping
    // To ask by an effect would take as long as the rest of an answer that is found.
    if (store.peek !== undefined) return this.decode(store.peek(key)) ?? this.lead(key, nothing, context, compute)
    const asked = patience.ask(context, () => store.get(key))
    return this.lead(key, asked, context, compute)
  }

  /** Waits for who computes it. */
  private follow<R>(
    key: string,
    running: Deferred.Deferred<Computed>,
    context: Context.Context<R>,
    compute: Effect.Effect<unknown, RpcError, R>,
  ): Effect.Effect<unknown, RpcError, R> {
    return Effect.flatMap(Deferred.await(running), (computed) =>
      computed === undefined
        ? this.look(key, context, compute)
        : // Each decodes one of its own, since layers may change it.
          Effect.map(computed, (bytes) => this.method.messages.decodeAnswer(bytes)),
    )
  }

  /** Computes it where the store has none, for all who ask meanwhile. */
  private lead<R>(
    key: string,
    asked: Effect.Effect<Entry | undefined>,
    context: Context.Context<R>,
    compute: Effect.Effect<unknown, RpcError, R>,
  ): Effect.Effect<unknown, RpcError, R> {
    const { store, patience, ttl } = this.keeping
    const mine = Deferred.makeUnsafe<Computed>()
    const tell = (computed: Computed) => Deferred.doneUnsafe(mine, Effect.succeed(computed))
    const keep = (answer: unknown) => {
      const bytes = this.method.messages.encodeAnswer(answer)
      tell(Exit.succeed(bytes))
      return Effect.as(
        patience.ask(context, () => store.set(key, bytes, { ttl })),
        answer,
      )
    }
    return Effect.onExitPrimitive(
      // Told to the others in here, so that no interrupt comes between that and the promise to tell them more.
      Effect.suspend(() => {
        const other = this.computing.get(key)
        if (other !== undefined) return this.follow(key, other, context, compute)
        this.computing.set(key, mine)
        return Effect.flatMap(asked, (entry) => {
          const answer = this.decode(entry)
          if (answer === undefined || entry === undefined) return Effect.flatMap(compute, keep)
          tell(Exit.succeed(entry.value))
          return answer
        })
      }),
      (exit) => {
        if (this.computing.get(key) === mine) this.computing.delete(key)
        if (Exit.isFailure(exit)) tell(isOwn(exit.cause) ? undefined : Exit.failCause(exit.cause))
        return undefined
      },
    )
  }

  private decode(entry: Entry | undefined): Exit.Exit<unknown> | undefined {
    if (entry === undefined) return undefined
    try {
      return Exit.succeed(this.method.messages.decodeAnswer(entry.value))
    } catch {
      return undefined
    }
  }
}

/** True for what ended one call and says nothing of the answer. */
const isOwn = (cause: Cause.Cause<RpcError>): boolean => {
  const error = Cause.findErrorOption(cause)
  if (Option.isNone(error)) return Cause.hasInterruptsOnly(cause)
  return error.value.code === "cancelled" || error.value.code === "deadline_exceeded"
}
