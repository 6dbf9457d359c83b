/**
 * `ownServer`: a server that a command starts for itself, on a thread of its own, so that its work and the client's
 * don't wait for each other.
 *
 * A thread and not a process: it ends with the command whatever ends that, it needs no word of how the runtime was
 * started, and under Deno no permission to run programs.
 */
// To Deno's types the global URL is another class than the one that a Worker takes.
import { URL } from "node:url"
import { SHARE_ENV, Worker } from "node:worker_threads"
import { Data, Effect, type Scope } from "effect"
import { self } from "./self.ts"

/** A command's own server could not be started. */
export class OwnServerError extends Data.TaggedError("OwnServerError")<{ readonly reason: string }> {
  override get message(): string {
    return `cannot start a server of its own: ${this.reason}\n  start one with "${self("serve")}", and say where it is with --address`
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** A server that waits so long before each call, until the scope closes; gives its address. */
export const ownServer = Effect.fnUntraced(function* (
  delayMillis: number,
): Effect.fn.Return<string, OwnServerError, Scope.Scope> {
  const worker = yield* Effect.acquireRelease(
    Effect.try({
      // The environment is shared, since Deno asks for all of it where it is to be copied.
      try: () =>
        new Worker(new URL("./ownServer.worker.ts", import.meta.url), { workerData: delayMillis, env: SHARE_ENV }),
      catch: (error) => new OwnServerError({ reason: reasonOf(error) }),
    }),
    (started) => Effect.promise(() => started.terminate()),
  )
  return yield* Effect.callback<string, OwnServerError>((resume) => {
    const fail = (reason: string) => resume(Effect.fail(new OwnServerError({ reason })))
    worker.once("message", ({ url, message }: { readonly url?: string; readonly message?: string }) =>
      url === undefined ? fail(message ?? "it didn't say why") : resume(Effect.succeed(url)),
    )
    // Stays, for an error without a listener would end the process. A call then fails with what it came to.
    worker.on("error", (error) => fail(reasonOf(error)))
    worker.once("exit", (code) => fail(`its thread ended with code ${code}`))
  })
})
