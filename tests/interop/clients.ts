/**
 * Programs of clients/ as tests: one for each of their cases.
 */
import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import type { Cases, Outcome } from "./clients/cases.ts"
import { lines, run, type Server } from "./processes.ts"
import { program, type Runtime, testServed } from "./programs.ts"
import { shared, test } from "./support.ts"

interface Pair {
  readonly client: Runtime
  readonly server: Runtime
  readonly secure?: boolean
}

/** Node is what these clients are made for. Clients that take less time try TLS on all runtimes. */
export const pairs: ReadonlyArray<Pair> = [
  { client: "bun", server: "bun" },
  { client: "node", server: "bun" },
  { client: "node", server: "deno" },
  { client: "node", server: "node" },
  { client: "node", server: "bun", secure: true },
]

/** Each case of a program as a test. The program runs once; its arguments depend on the server. */
export const describeCases = <C>(
  name: string,
  file: string,
  cases: Cases<C>,
  { client, server, secure = false }: Pair,
  args: (server: Server) => ReadonlyArray<string>,
): void => {
  describe(`${name} on ${client} and our server on ${server}${secure ? " with TLS" : ""}`, () => {
    const outcomes = shared(
      Effect.gen(function* () {
        const served = yield* testServed(server, secure)
        const printed = lines(yield* run(program(client, file, args(served))))
        return new Map(
          printed.map((line): [string, string] => {
            const { name, outcome }: Outcome = JSON.parse(line)
            return [name, outcome]
          }),
        )
      }),
    )
    for (const name of Object.keys(cases)) {
      test(name, () => Effect.sync(() => assert.equal(outcomes().get(name), "passed")))
    }
  })
}
