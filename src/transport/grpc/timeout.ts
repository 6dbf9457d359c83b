/**
 * `grpc-timeout`: how long a call may still take, as the wire has it.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Timeout": up to eight digits and a unit.
 */

const unitMillis: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }
const pattern = /^(\d{1,8})([HMSmun])$/

/** A timeout in milliseconds; `undefined` if the text is none. */
export const parseTimeout = (text: string): number | undefined => {
  const [, digits, unit] = pattern.exec(text) ?? []
  const millis = unit === undefined ? undefined : unitMillis[unit]
  return millis === undefined ? undefined : Number(digits) * millis
}

const maxDigits = 99_999_999

// Whole milliseconds, which most clocks give, are said shorter so.
const units = { whole: ["m", "S", "M"], parts: ["u", "m", "S", "M"] } as const

/** Milliseconds as a timeout, in the finest unit that is needed and that eight digits have room for, rounded up. */
export const formatTimeout = (millis: number): string => {
  for (const unit of Number.isInteger(millis) && millis > 0 ? units.whole : units.parts) {
    const amount = Math.ceil(millis / (unitMillis[unit] ?? 1))
    if (amount <= maxDigits) return `${Math.max(1, amount)}${unit}`
  }
  return `${Math.min(maxDigits, Math.ceil(millis / 3_600_000))}H`
}
