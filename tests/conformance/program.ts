/**
 * Runs a program until a signal ends it.
 */
import process from "node:process"
import { Cause, Effect, Exit, type Scope } from "effect"

export const run = <E>(program: Effect.Effect<never, E, Scope.Scope>): void => {
  const fiber = Effect.runFork(Effect.scoped(program))
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => fiber.interruptUnsafe())
  }
  fiber.addObserver((exit) => {
    const failed = Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)
    if (failed) process.stderr.write(`${Cause.pretty(exit.cause)}\n`)
    process.exit(failed ? 1 : 0)
  })
}
