/**
 * What others have said, as a terminal and a log may have it: peers, programs that fail, registries, stores. None of it may
 * give orders to a terminal, pass for a line of our own, or tell a password.
 */
import { Cause } from "effect"

// Control characters, those that turn the direction of text or aren't seen, lone surrogates, and all ends of lines.
const unprintable = /[\p{C}\p{Zl}\p{Zp}]/u
const eachUnprintable = /[\p{C}\p{Zl}\p{Zp}]/gu
// Most texts are of these alone, which is cheaper to see.
const plain = /^[\x20-\x7e]*$/

const short: Partial<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const written = (character: string): string =>
  short[character] ??
  Array.from(
    { length: character.length },
    (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`,
  ).join("")

const isPrintable = (text: string): boolean => plain.test(text) || !unprintable.test(text)

/**
 * A text in one line: what can't be printed is written as JSON writes it, such as `\u001b` and `\n`. A text in JSON stays
 * the same JSON.
 */
export const escaped = (text: string): string => (isPrintable(text) ? text : text.replace(eachUnprintable, written))

/** A text in quotes, as JSON. */
export const quoted = (text: string): string => escaped(JSON.stringify(text))

/** A text as it is, or in quotes where that could be taken for another one. */
export const printable = (text: string): string =>
  text !== "" && isPrintable(text) && !text.startsWith('"') ? text : quoted(text)

/** Makes each line of a text printable, and keeps the ends of its lines. */
export const lines = (text: string): ReadonlyArray<string> => text.split(/\r?\n/).map(escaped)

/** The lines of an error's stack that say where it was made. */
export const placesOf = ({ stack = "" }: Error): ReadonlyArray<string> =>
  lines(stack).filter((line) => /^\s+at /.test(line))

// Deep enough for any program, and an end where errors are each other's cause.
const mostCauses = 8

const printableError = (error: Error, depth: number): Error => {
  const { name, message, cause } = error
  const because = depth === mostCauses ? undefined : printableDefect(cause, depth + 1)
  if (because === cause && isPrintable(`${name}${message}`)) return error
  const shown = new Error(escaped(message), because === undefined ? {} : { cause: because })
  shown.name = escaped(name)
  // Without the message, which begins it: not each runtime has it there letter by letter.
  shown.stack = [`${shown.name}: ${shown.message}`, ...placesOf(error)].join("\n")
  return shown
}

/** What was thrown, for the log: an error whose message has what can't be printed is replaced by one that has it escaped. */
export const printableDefect = (defect: unknown, depth = 0): unknown => {
  if (defect instanceof Error) return printableError(defect, depth)
  return typeof defect === "string" ? escaped(defect) : defect
}

/** The same for all that is in a cause. */
export const printableCause = <E>(cause: Cause.Cause<E>): Cause.Cause<unknown> => {
  const reasons = cause.reasons.map((reason) => {
    if (Cause.isDieReason(reason)) {
      const defect = printableDefect(reason.defect)
      return defect === reason.defect ? reason : Cause.makeDieReason(defect)
    }
    if (!Cause.isFailReason(reason)) return reason
    const error = printableDefect(reason.error)
    return error === reason.error ? reason : Cause.makeFailReason(error)
  })
  return reasons.every((reason, i) => reason === cause.reasons[i]) ? cause : Cause.fromReasons<unknown>(reasons)
}

/** A URL, or what was meant to be one, as it may be shown: nothing is left of what stands before an `@`. */
export const withoutUser = (url: string): string => url.replace(/^([\w+.-]+:\/\/)?.*@/s, "$1…@")
