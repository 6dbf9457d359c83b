/**
 * The table, in Markdown.
 */
import type { Machine } from "./machine.ts"
import { type Figure, type Gap, isMet, type Row } from "./row.ts"

const cells = (...texts: ReadonlyArray<string>): string => `| ${texts.join(" | ")} |`

const head = ["measure", "ours", "the peer's", "ratio (range)", "must", "aim", "met"]

const figure = ({ spread: { median, min, max }, unit, digits = 2 }: Figure): string => {
  const text = `**${median.toFixed(digits)}**${unit}`
  return min === max ? text : `${text} (${min.toFixed(digits)}–${max.toFixed(digits)})`
}

const line = (row: Row | Gap): string => {
  if ("problem" in row) {
    const [problem = ""] = row.problem.trim().split("\n", 1)
    return cells(row.measure, `${row.kind}: ${problem.replaceAll("|", "\\|")}`, "", "", "", "", "")
  }
  const { bound, judged } = row
  const sign = bound?.better === "lower" ? "≤" : "≥"
  const limit = (value: number | undefined) => (value === undefined ? "" : `${sign} ${value}${judged.unit}`)
  const met = isMet(row)
  return cells(
    row.measure,
    row.ours,
    row.peer ?? "",
    figure(judged),
    limit(bound?.must),
    limit(bound?.aim),
    met === undefined ? "" : met ? "yes" : "no",
  )
}

export const table = (machine: Machine, rows: ReadonlyArray<Row | Gap>): string =>
  [
    Object.entries(machine)
      .map(([name, value]) => `${name}: ${value}`)
      .join("; "),
    "",
    cells(...head),
    cells(...head.map(() => "---")),
    ...rows.map(line),
    "",
  ].join("\n")
