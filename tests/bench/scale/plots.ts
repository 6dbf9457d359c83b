/**
 * The plots, as Vega-Lite has them.
 */
import { parse, View } from "vega"
import { compile, type TopLevelSpec } from "vega-lite"
import type { Need } from "./fanOut.ts"
import type { Tenth } from "./registryLoad.ts"
import type { Course } from "./storm.ts"
import type { Spread } from "./subsets.ts"

const look = {
  $schema: "https://vega.github.io/schema/vega-lite/v6.json",
  background: "white",
  padding: 12,
  config: {
    font: "DejaVu Sans, Verdana, sans-serif",
    title: { fontSize: 15, anchor: "start", subtitleFontSize: 12, subtitlePadding: 6, offset: 14 },
    axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", gridColor: "#e4e4e4" },
    legend: {
      labelFontSize: 12,
      titleFontSize: 12,
      titleFontWeight: "normal",
      labelLimit: 500,
      titleLimit: 500,
      symbolStrokeWidth: 3,
    },
    header: { labelFontSize: 12, labelFontWeight: "bold", labelAnchor: "start" },
    view: { stroke: "#cccccc" },
    line: { strokeWidth: 2 },
  },
} as const

/** A plot as an SVG. */
export const svg = (spec: TopLevelSpec): Promise<string> =>
  new View(parse(compile(spec).spec), { renderer: "none" }).toSVG()

/** What the registry is asked, second by second. */
export const registryPlot = (
  tenths: ReadonlyArray<Tenth>,
  times: { readonly restarts: readonly [number, number]; readonly outage: readonly [number, number] },
): TopLevelSpec => {
  const names = {
    renewals: "renewals",
    registrations: "registrations (a lease and a key each)",
    deregistrations: "deregistrations",
    refused: "asked in vain",
  } as const
  const seconds = Math.floor(tenths.length / 10)
  // None has no place on a log scale: the line is broken there.
  const orNull = (sum: number) => (sum === 0 ? null : sum)
  const values = Object.entries(names).flatMap(([kind, name]) =>
    Array.from({ length: seconds }, (_, second) => ({
      second,
      name,
      perSecond: orNull(
        tenths
          .slice(second * 10, second * 10 + 10)
          .reduce((sum, counts) => sum + counts[kind as keyof typeof names], 0),
      ),
    })),
  )
  return {
    ...look,
    title: {
      text: "What 10,000 endpoints with leases of 5 s ask of their registry",
      subtitle: "all come within 10 s; 16.7 of them a second are restarted; then the registry is away for 20 s",
    },
    width: 680,
    height: 300,
    layer: [
      {
        data: {
          values: [
            { from: times.restarts[0], to: times.restarts[1], what: "restarts" },
            { from: times.outage[0], to: times.outage[1], what: "the registry is away" },
          ],
        },
        layer: [
          {
            mark: { type: "rect", color: "#f0f0f0" },
            encoding: { x: { field: "from", type: "quantitative" }, x2: { field: "to" } },
          },
          {
            mark: { type: "text", align: "left", baseline: "top", dx: 4, dy: 4, fontSize: 12, color: "#555555" },
            encoding: {
              x: { field: "from", type: "quantitative" },
              y: { value: 0 },
              text: { field: "what", type: "nominal" },
            },
          },
        ],
      },
      {
        data: { values },
        mark: { type: "line", point: { size: 14 }, invalid: "break-paths-show-domains" },
        encoding: {
          x: { field: "second", type: "quantitative", title: "seconds", scale: { domain: [0, seconds] } },
          y: {
            field: "perSecond",
            type: "quantitative",
            title: "operations a second (log scale)",
            scale: { type: "log", domain: [1, 200_000] },
            axis: { format: "~s" },
          },
          color: {
            field: "name",
            type: "nominal",
            sort: Object.values(names),
            legend: { orient: "bottom", columns: 4, title: null },
          },
        },
      },
    ],
  }
}

/** What watchers are sent, and by how many cores. */
export const fanOutPlot = (
  needs: ReadonlyArray<Need>,
  cores: ReadonlyArray<{ readonly what: string; readonly messagesPerSecond: number }>,
): TopLevelSpec => {
  const x = {
    field: "clients",
    type: "quantitative" as const,
    title: "clients that watch (log scale)",
    scale: { type: "log" as const, domain: [100, 1_000_000] },
    axis: { format: "~s", values: [100, 1000, 10_000, 100_000, 1_000_000] },
  }
  const color = {
    field: "way",
    type: "nominal",
    sort: null,
    legend: { orient: "bottom", columns: 2, title: "each client is told of" },
  } as const
  return {
    ...look,
    title: {
      text: "What clients are told while 10,000 endpoints are restarted within 10 minutes",
      subtitle: "33 changes a second; an event as etcd sends it",
    },
    hconcat: [
      {
        width: 330,
        height: 320,
        layer: [
          {
            data: { values: [...needs.filter(({ way }) => !way.startsWith("whole"))] },
            mark: "line",
            encoding: {
              x,
              y: {
                field: "messagesPerSecond",
                type: "quantitative",
                title: "events a second (log scale)",
                scale: { type: "log", domain: [1, 1e8] },
                axis: { format: "~s" },
              },
              color,
            },
          },
          {
            data: { values: [...cores] },
            layer: [
              {
                mark: { type: "rule", strokeDash: [5, 4], color: "#555555" },
                encoding: { y: { field: "messagesPerSecond", type: "quantitative" } },
              },
              {
                mark: {
                  type: "text",
                  align: "left",
                  baseline: "bottom",
                  dx: 4,
                  dy: -2,
                  fontSize: 11,
                  color: "#333333",
                },
                encoding: {
                  x: { value: 0 },
                  y: { field: "messagesPerSecond", type: "quantitative" },
                  text: { field: "what", type: "nominal" },
                },
              },
            ],
          },
        ],
      },
      {
        width: 330,
        height: 320,
        data: { values: [...needs] },
        mark: "line",
        encoding: {
          x,
          y: {
            field: "bytesPerSecond",
            type: "quantitative",
            title: "bytes a second (log scale)",
            scale: { type: "log", domain: [100, 1e14] },
            axis: { format: "~s" },
          },
          color,
        },
      },
    ],
  }
}

/** How uneven subsets make the load. */
export const spreadPlot = (
  drawn: ReadonlyArray<Spread>,
  chosen: ReadonlyArray<Spread & { readonly endpoints: number }>,
): TopLevelSpec => {
  const of = (spread: Spread, endpoints: number, series: string) => ({
    mean: (spread.clients * spread.size) / endpoints,
    most: spread.most,
    series,
  })
  const x = {
    field: "mean",
    type: "quantitative" as const,
    title: "connections of the mean endpoint = clients × size of a subset ÷ endpoints (log scale)",
    scale: { type: "log" as const, domain: [0.4, 10_000] },
    axis: { values: [0.5, 1, 10, 100, 1000, 10_000], format: ",~r" },
  }
  const y = {
    field: "most",
    type: "quantitative" as const,
    title: "fullest endpoint, × the mean (log scale)",
    scale: { type: "log" as const, domain: [1, 20] },
    axis: { values: [1, 1.25, 1.5, 2, 3, 5, 10, 20], format: "~r" },
  }
  const color = {
    field: "series",
    type: "nominal" as const,
    sort: null,
    legend: { orient: "bottom" as const, columns: 3, title: null },
  }
  return {
    ...look,
    title: {
      text: "How even the load is when a client connects to some of the endpoints only",
      subtitle: "lines: drawn at random out of 10,000 endpoints; diamonds: chosen by Basel, out of 100 to 10,000",
    },
    width: 680,
    height: 300,
    layer: [
      {
        data: {
          values: drawn.map((spread) => of(spread, 10_000, `${spread.clients.toLocaleString("en")} clients`)),
        },
        mark: { type: "line", point: true },
        encoding: { x, y, color },
      },
      {
        data: { values: chosen.map((spread) => of(spread, spread.endpoints, "chosen by Basel")) },
        mark: { type: "point", shape: "diamond", size: 90, strokeWidth: 2 },
        encoding: { x, y, color },
      },
    ],
  }
}

/** What is sent and answered in a storm, a panel for each kind of client. */
export const stormPlot = (
  courses: ReadonlyArray<{ readonly name: string; readonly course: Course }>,
  outage: { readonly from: number; readonly to: number },
  until: number,
): TopLevelSpec => ({
  ...look,
  title: {
    text: "A service at 80 % of its capacity loses half of its servers for 30 s",
    subtitle: `10⁶ clients, 10⁵ calls a second, 10,000 servers; grey: the outage, ${outage.from} s to ${outage.to} s`,
  },
  data: {
    values: courses.flatMap(({ name, course }) =>
      course.seconds.slice(0, until).flatMap(({ attempts, succeeded }, second) => [
        { name, second, series: "attempts sent", perSecond: attempts },
        { name, second, series: "calls answered", perSecond: succeeded },
      ]),
    ),
  },
  facet: { field: "name", type: "nominal", sort: courses.map(({ name }) => name), title: null },
  columns: 2,
  spacing: { row: 24, column: 24 },
  spec: {
    width: 320,
    height: 170,
    layer: [
      {
        data: { values: [{ from: outage.from, to: outage.to }] },
        mark: { type: "rect", color: "#ececec" },
        encoding: { x: { field: "from", type: "quantitative" }, x2: { field: "to" } },
      },
      {
        mark: "line",
        encoding: {
          x: { field: "second", type: "quantitative", title: "seconds", scale: { domain: [0, until] } },
          y: {
            field: "perSecond",
            type: "quantitative",
            title: "a second",
            scale: { domain: [0, 550_000] },
            axis: { format: "~s", tickCount: 6 },
          },
          color: { field: "series", type: "nominal", legend: { orient: "top", title: null } },
        },
      },
    ],
  },
})
