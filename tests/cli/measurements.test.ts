import assert from "node:assert/strict"
import { test } from "node:test"
import { stripVTControlCharacters } from "node:util"
import { type Measurement, measurementJson, measurementLines } from "../../src/cli/measurements.ts"

const ofServer = (
  delayMillis: number | undefined,
  calls: number,
  seconds: readonly [number, number, number, number],
): ReadonlyArray<Measurement> => seconds.map((time, i) => ({ delayMillis, calls, atATime: 4 ** i, seconds: time }))

const both = [...ofServer(0, 999, [0.4, 0.3, 0.2, 0.0004]), ...ofServer(10, 999, [12, 3, 0.75, 0.1875])]

const text = (measurements: ReadonlyArray<Measurement>, columns: number, colors = false) =>
  `\n${measurementLines(measurements, { columns, colors }).join("\n")}\n`

test("a table for each server, with bars of its own scale and the tutorial's times beside", () => {
  assert.equal(
    text(both, 80),
    `
no delay on the server:
 at a time     time    calls/s  tutorial
─────────────────────────────────────────
         1  0.400 s      2,498   1.192 s  ██████████████████████████████████████
         4  0.300 s      3,330   1.289 s  ████████████████████████████▌
        16  0.200 s      4,995         –  ███████████████████
        64  0.000 s  2,497,500         –  ▏

10 ms on the server, each call:
 at a time      time  calls/s  tutorial
────────────────────────────────────────
         1  12.000 s       83  14.031 s  ███████████████████████████████████████
         4   3.000 s      333   2.099 s  █████████▊
        16   0.750 s    1,332         –  ██▌
        64   0.188 s    5,328         –  ▋

tutorial: its Python clients of 2018, with 1 and 4 threads, as whole processes.
Its 2.099 s can't be of 4: 999 calls of 10 ms, 4 at a time, take 2.5 s at least.
`,
  )
})

const widest = (measurements: ReadonlyArray<Measurement>, columns: number): number =>
  Math.max(...measurementLines(measurements, { columns, colors: false }).map((line) => line.length))

test("bars fill what room there is, up to 40 characters", () => {
  const slow = ofServer(10, 100, [12, 3, 0.75, 0.1875])
  assert.equal(widest(slow, 50), 50)
  assert.equal(widest(slow, 60), 60)
  assert.equal(widest(slow, 1000), 71)
})

test("where there is no room for bars there are none", () => {
  assert.equal(
    text(ofServer(10, 100, [12, 3, 0.75, 0.1875]), 37),
    `
10 ms on the server, each call:
 at a time      time  calls/s
──────────────────────────────
         1  12.000 s        8
         4   3.000 s       33
        16   0.750 s      133
        64   0.188 s      533
`,
  )
})

test("colours change nothing but the colours", () => {
  const colored = text(both, 80, true)
  assert.equal(stripVTControlCharacters(colored), text(both, 80))
  assert.ok(colored.includes("  \x1b[1m0.200 s\x1b[22m      4,995         \x1b[2m–\x1b[22m  \x1b[32m██"))
})

test("the tutorial stands beside its own number of calls and its own servers only", () => {
  const seconds = [4, 3, 2, 1] as const
  for (const other of [ofServer(0, 998, seconds), ofServer(5, 999, seconds), ofServer(undefined, 999, seconds)]) {
    assert.ok(!text(other, 80).includes("tutorial"))
  }
  assert.match(text(ofServer(undefined, 999, seconds), 80), /^\nthe server that runs already:\n/)
})

test("as JSON a measurement is an object, with the tutorial's time where there is one", () => {
  assert.equal(
    both.slice(5, 7).map(measurementJson).join("\n"),
    '{"delayMillis":10,"calls":999,"atATime":4,"seconds":3,"callsPerSecond":333,"tutorialSeconds":2.099}\n' +
      '{"delayMillis":10,"calls":999,"atATime":16,"seconds":0.75,"callsPerSecond":1332}',
  )
  const [first] = ofServer(undefined, 10, [2, 1, 1, 1])
  assert.equal(first && measurementJson(first), '{"calls":10,"atATime":1,"seconds":2,"callsPerSecond":5}')
})
