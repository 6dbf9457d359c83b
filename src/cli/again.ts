/**
 * `again`: the command that starts this program once more, on the same runtime and with the same options of it.
 */
import { availableParallelism } from "node:os"
import { Effect } from "effect"
import { UsageError } from "./failure.ts"

/** How many threads this machine, or what of it is ours, runs at once. */
export const cores = availableParallelism

/** As much of Deno's own API as asks what it may do: its types aren't there on other runtimes. */
interface Deno {
  readonly permissions: {
    readonly querySync: (of: { readonly name: string; readonly command?: string }) => { readonly state: string }
  }
}

// What a worker may need. Not `run`: a program that serves starts no others.
const passedOn = ["env", "ffi", "import", "net", "read", "sys", "write"]

/** What Deno is told before the program's file, since `process.execArgv` says nothing of permissions there. */
const denoOptions = Effect.fnUntraced(function* ({ permissions }: Deno) {
  const granted = (name: string, command?: string) =>
    permissions.querySync(command === undefined ? { name } : { name, command }).state === "granted"
  // To start a program it copies its environment.
  if (!granted("run", process.execPath) || !granted("env")) {
    return yield* new UsageError({
      message: `--workers starts processes, which Deno hasn't been allowed: add --allow-env --allow-run=${process.execPath} to the options of "deno run", or leave --workers out`,
    })
  }
  return ["run", "--no-prompt", ...passedOn.filter((name) => granted(name)).map((name) => `--allow-${name}`)]
})

/**
 * The command that runs this program with these arguments. Under Deno it gets those permissions that this one has as a
 * whole: nobody can ask Deno for what parts of one were allowed.
 */
export const again = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  // There on one runtime only, where it is what its documentation says.
  const deno = Reflect.get(globalThis, "Deno") as Deno | undefined
  const options = deno === undefined ? process.execArgv : yield* denoOptions(deno)
  return [process.execPath, ...options, process.argv[1] ?? "", ...args] as const
})
