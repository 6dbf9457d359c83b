/**
 * Streams whose elements take an effect each, most of which are ready at once.
 *
 * `Stream.mapEffect` gives each result on alone, and all that lies behind it works as often. Messages go faster by far in
 * arrays: a transport gives requests in those that they arrived in, and sends the answers of an array in one write.
 */
import { Array as Arr, Effect, Exit, Fiber, type Pull, Scope, Stream } from "effect"

// So many results are given on at once at most, for the consumer to have its turn.
const mostAtOnce = 512
// So many effects share a fiber at most, which would have to yield if they were more.
const mostInFiber = 64

/** The exit that an effect is already; `undefined` for one that has to be run. */
export const exitOf = <A, E, R>(effect: Effect.Effect<A, E, R>): Exit.Exit<A, E> | undefined =>
  // An effect that is an exit has its types.
  Exit.isExit(effect) ? (effect as Exit.Exit<A, E>) : undefined

/**
 * Maps each element by an effect, one after another, as `Stream.mapEffect` does. What is ready at once stays together in
 * an array; an effect that has to wait holds up nothing that was ready before it, and is waited for once that was taken.
 *
 * @example
 * const answers = requests.pipe(mapReady(({ n }) => Effect.map(pi(n), (value) => ({ n, value }))))
 */
export const mapReady =
  <A, B, E2, R2>(f: (element: A) => Effect.Effect<B, E2, R2>) =>
  <E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<B, E | E2, R | R2> =>
    Stream.transformPull(self, (pull, scope) =>
      Effect.gen(function* () {
        const run = Effect.runForkWith(yield* Effect.context<R2>())
        let elements: ReadonlyArray<A> = []
        let at = 0
        let results: Array<B> = []
        // What comes when the results before it have been taken: an effect that waits, or the failure of one.
        let running: Fiber.Fiber<void, E2> | undefined
        let failed: Effect.Effect<never, E2> | undefined

        const stop = Effect.suspend(() => (running === undefined ? Effect.void : Fiber.interrupt(running)))
        yield* Scope.addFinalizer(scope, stop)

        const more = () => at < elements.length && results.length < mostAtOnce

        /** Runs an effect and those behind it, up to one that has to wait. */
        const several = (first: Effect.Effect<B, E2, R2>): Effect.Effect<void, E2, R2> => {
          let upcoming: Effect.Effect<B, E2, R2> | undefined = first
          let left = mostInFiber
          return Effect.whileLoop({
            while: () => upcoming !== undefined,
            // `while` has seen that there is one.
            body: () => upcoming as Effect.Effect<B, E2, R2>,
            step: (result) => {
              results.push(result)
              // What follows one that has waited begins when that was taken.
              upcoming = running === undefined && --left > 0 && more() ? f(elements[at++] as A) : undefined
            },
          })
        }

        const taken = (): Arr.NonEmptyReadonlyArray<B> | undefined => {
          const all = results
          results = []
          return Arr.isArrayNonEmpty(all) ? all : undefined
        }

        /** The results up to the first that isn't ready. */
        const next: Pull.Pull<Arr.NonEmptyReadonlyArray<B>, E | E2> = Effect.suspend(() => {
          if (failed !== undefined) return failed
          if (running !== undefined) {
            return Effect.flatMap(Fiber.join(running), () => {
              running = undefined
              const late = taken()
              return late === undefined ? next : Effect.succeed(late)
            })
          }
          while (more() && running === undefined && failed === undefined) {
            const effect = f(elements[at++] as A)
            const ready = exitOf(effect)
            if (ready !== undefined && Exit.isSuccess(ready)) {
              // What has been computed already needs no fiber.
              results.push(ready.value)
              continue
            }
            const fiber = run(several(effect))
            const exit = fiber.pollUnsafe()
            if (exit === undefined) running = fiber
            else if (Exit.isFailure(exit)) failed = Effect.failCause(exit.cause)
          }
          const early = taken()
          if (early !== undefined) return Effect.succeed(early)
          if (running !== undefined || failed !== undefined) return next
          return Effect.flatMap(pull, (arrived) => {
            elements = arrived
            at = 0
            return next
          })
        })
        return next
      }),
    )
