/**
 * Whole numbers as a person types them.
 */
import { Option } from "effect"
import { Flag } from "effect/cli"

export interface NumberFlag {
  /** What is expected, such as `a port`; `a number` by default. */
  readonly of?: string
  readonly min: number
  /** No bound but that of whole numbers by default. */
  readonly max?: number
}

/** A flag whose value is a whole number within bounds. */
export const numberFlag = (name: string, { of = "a number", min, max = Number.MAX_SAFE_INTEGER }: NumberFlag) => {
  const bounds = max === Number.MAX_SAFE_INTEGER ? `of ${min} or more` : `from ${min} to ${max}`
  return Flag.String(name).pipe(
    Flag.withMetavar("number"),
    Flag.filterMap(
      (text) => {
        const value = Number(text)
        return /^[+-]?\d+$/.test(text) && value >= min && value <= max ? Option.some(value) : Option.none()
      },
      () => `Expected ${of} ${bounds}`,
    ),
  )
}
