/**
 * Cases that a program with a client of others goes through, one after another, on whichever runtime it runs: each makes
 * its calls and asserts what came back.
 */
import process from "node:process"

export type Cases<C> = Readonly<Record<string, (client: C) => Promise<void>>>

/** What a program prints of a case: a line of JSON. */
export interface Outcome {
  readonly name: string
  /** "passed", or what went wrong. */
  readonly outcome: string
}

const patienceMillis = 10_000

const impatient = (): Promise<string> =>
  new Promise((resolve) => setTimeout(() => resolve(`no end after ${patienceMillis} ms`), patienceMillis).unref())

const outcomeOf = async (body: () => Promise<void>): Promise<string> => {
  try {
    await body()
    return "passed"
  } catch (error) {
    return error instanceof Error ? `${error.stack}` : String(error)
  }
}

/**
 * Goes through the cases, or the one that the environment names, says what became of them, and ends the process whatever
 * a client still holds open.
 */
export const goThrough = async <C>(cases: Cases<C>, client: C): Promise<void> => {
  const { ONLY_CASE: only } = process.env
  for (const [name, body] of Object.entries(cases)) {
    if (only !== undefined && only !== name) continue
    const outcome: Outcome = { name, outcome: await Promise.race([outcomeOf(() => body(client)), impatient()]) }
    process.stdout.write(`${JSON.stringify(outcome)}\n`)
  }
  process.exit(0)
}
