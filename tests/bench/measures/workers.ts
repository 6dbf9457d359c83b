/**
 * Workers: how many more calls two processes on one port answer than one.
 */
import { type Comparison, compare, contest, median } from "../contest.ts"
import { h2load, type Load } from "../h2load.ts"
import { type Calling, calling } from "../messages.ts"
import type { Measure } from "../row.ts"
import { unbound } from "../servers.ts"

// The system gives connections to processes as their ports fall: enough of them for both to have some.
const width = { connections: 16, streams: 4 } as const

const flags = {
  two: ["--workers", "2", "--summation"],
  one: ["--summation"],
} as const

const contestOf =
  (what: Calling, measure: string, bound?: Comparison<Load>["bound"]): Measure =>
  async (note) => {
    const outcomes = await contest(
      {
        start: (name: keyof typeof flags) => unbound(...flags[name]),
        names: ["two", "one"],
        rounds: 7,
        warmUp: ({ port }) => h2load(port, { seconds: 5 }, what, width),
        take: ({ port }) => h2load(port, { seconds: 3 }, what, width),
      },
      note,
    )
    return [
      compare(outcomes.get("two"), outcomes.get("one"), {
        measure,
        figure: ({ perSecond }) => perSecond,
        show: (taken) => `${median(taken, ({ perSecond }) => perSecond, 0)} calls/s`,
        ...(bound && { bound }),
      }),
    ]
  }

export const workers: Measure = contestOf(
  calling(1_000_000),
  "workers, the tutorial's loop over 10⁶ terms: Bun, two against one",
  { better: "higher", must: 1.8 },
)

/** The load has no core of its own here, so two processes have less than two cores. */
export const cheapWorkers: Measure = contestOf(
  calling(1),
  "workers, cheap calls, with the load on the same cores: Bun, two against one",
)
