/**
 * Programs of clients/ as tests: one for each of their cases.
 */
import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, type Scope } from "effect"
import type { Cases, Outcome } from "./clients/cases.ts"
import { type Command, lines, run, type Server } from "./processes.ts"
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

/** What came of each case of a program that goes through them, by name. */
const outcomesOf = Effect.fnUntraced(function* (what: Command) {
  return new Map(
    lines(yield* run(what)).map((line): [string, string] => {
      const { name, outcome }: Outcome = JSON.parse(line)
      return [name, outcome]
    }),
  )
})

/** Each of a program's cases as a test. The program runs once; what it is depends on the server. */
export const describeCasesOf = <C>(
  title: string,
  cases: Cases<C>,
  served: Effect.Effect<Server, never, Scope.Scope>,
  command: (server: Server) => Command,
): void => {
  describe(title, () => {
    const outcomes = shared(Effect.flatMap(served, (server) => outcomesOf(command(server))))
    for (const name of Object.keys(cases)) {
      test(name, () => Effect.sync(() => assert.equal(outcomes().get(name), "passed")))
    }
  })
}

/** The cases of a program of clients/ against our server. */
export const describeCases = <C>(
  name: string,
  file: string,
  cases: Cases<C>,
  { client, server, secure = false }: Pair,
  args: (server: Server) => ReadonlyArray<string>,
): void =>
  describeCasesOf(
    `${name} on ${client} and our server on ${server}${secure ? " with TLS" : ""}`,
    cases,
    testServed(server, secure),
    (served) => program(client, file, args(served)),
  )
