/**
 * Durations as a person types them: `10ms`, `5s`, `1.5m`, `2h`.
 */
import { Duration, Option } from "effect"
import { Flag } from "effect/cli"

const millis: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const pattern = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/

export const parseDuration = (text: string): Option.Option<Duration.Duration> => {
  const [, amount, unit] = pattern.exec(text) ?? []
  const factor = unit === undefined ? undefined : millis[unit]
  return factor === undefined ? Option.none() : Option.some(Duration.millis(Number(amount) * factor))
}

/** A flag whose value is a duration. */
export const durationFlag = (name: string): Flag.Flag<Duration.Duration> =>
  Flag.String(name).pipe(
    Flag.withMetavar("duration"),
    Flag.filterMap(
      parseDuration,
      (text) => `Expected a duration such as 10ms, 5s or 1.5m, not ${JSON.stringify(text)}`,
    ),
  )

/** The same for one that may not be zero. */
export const positiveDurationFlag = (name: string): Flag.Flag<Duration.Duration> =>
  durationFlag(name).pipe(Flag.filter(Duration.isPositive, () => "Expected a duration above zero"))
