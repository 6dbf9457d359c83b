import assert from "node:assert/strict"
import { test } from "node:test"
import { type Fault, Sink } from "../../src/cli/sink.ts"

/** A reader that takes what is written when it is told to. */
const reader = () => {
  let taken = ""
  let waiting: { readonly bytes: Uint8Array; readonly done: (fault?: Fault) => void } | undefined
  return {
    output: (bytes: Uint8Array, done: (fault?: Fault) => void) => {
      assert.equal(waiting, undefined, "one write at a time")
      waiting = { bytes, done }
    },
    taken: () => taken,
    waits: () => waiting !== undefined,
    /** Takes all that is written, or a part of it and fails. */
    take: async (fault?: Fault) => {
      const { bytes, done } = waiting ?? assert.fail("nothing was written")
      waiting = undefined
      taken += Buffer.from(bytes.subarray(0, fault?.taken)).toString()
      done(fault)
      await Promise.resolve()
    },
  }
}

test("the lines of a turn leave in one write", async () => {
  const { output, taken, take } = reader()
  const sink = new Sink(output)
  for (const line of ["a", "b", "c"]) sink.write(line)
  await Promise.resolve()
  await take()
  assert.equal(taken(), "a\nb\nc\n")
})

test("lines for which there is no room are dropped, and a line in their place says how many", async () => {
  const { output, taken, take, waits } = reader()
  const sink = new Sink(output, { maxBytes: 10, told: (dropped) => `${dropped} dropped` })
  for (const line of ["1234", "5678", "too", "many"]) sink.write(line)
  await Promise.resolve()
  sink.write("late")
  while (waits()) await take()
  sink.write("on")
  await Promise.resolve()
  await take()
  assert.equal(taken(), "1234\n5678\n3 dropped\non\n")
})

test("a line that is longer than all there may wait is dropped alone, and those that follow it leave", async () => {
  const { output, taken, take, waits } = reader()
  const sink = new Sink(output, { maxBytes: 10, told: (dropped) => `${dropped} dropped` })
  sink.write("longer than ten bytes")
  await Promise.resolve()
  while (waits()) await take()
  sink.write("on")
  await Promise.resolve()
  while (waits()) await take()
  assert.equal(taken(), "1 dropped\non\n")
})

test("what a full disk took in part is written on where it stopped", async () => {
  const { output, taken, take, waits } = reader()
  const sink = new Sink(output)
  sink.write("abcdef")
  await Promise.resolve()
  await take({ taken: 2, retryMillis: 1 })
  const flushed = sink.flushed(60_000)
  while (!waits()) await new Promise((resolve) => setTimeout(resolve, 5))
  await take()
  await flushed
  assert.equal(taken(), "abcdef\n")
})

test("a reader that is gone is written to no more, and nobody waits for it", async () => {
  const { output, take, waits } = reader()
  const sink = new Sink(output)
  sink.write("a")
  await Promise.resolve()
  const flushed = sink.flushed(60_000)
  await take({ taken: 0, retryMillis: undefined })
  await flushed
  sink.write("b")
  await Promise.resolve()
  assert.equal(waits(), false)
})

test("who ends waits for a reader that stalls no longer than it says", async () => {
  const sink = new Sink(reader().output)
  sink.write("a")
  await sink.flushed(1)
})
