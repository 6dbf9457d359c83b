/**
 * Layers: what those of `basel serve` add to a call.
 */
import { compare, contest } from "../contest.ts"
import type { Measure } from "../row.ts"
import { calculator } from "../servers.ts"
import { cpuPerCall, microseconds, warmUp } from "./unary.ts"

export const layers: Measure = async (note) => {
  const names = ["bun", "no layers"] as const
  const outcomes = await contest({ start: calculator, names, lives: 7, rounds: 3, warmUp, take: cpuPerCall }, note)
  return [
    compare(outcomes.get("bun"), outcomes.get("no layers"), {
      ...microseconds,
      measure: "layers, CPU a call: Bun, all of `basel serve` against none",
      bound: { better: "lower", must: 1.15, aim: 1.05 },
    }),
  ]
}
