/**
 * Chromium as a client of our server: by TLS and ALPN it comes to speak HTTP/2, and connect-web in a page of ours makes
 * the calls.
 */
import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { chromium } from "./chromium.ts"
import type { Protocol, Seen } from "./clients/browser.ts"
import { assertNear, pi, upTo } from "./numbers.ts"
import { printedBy, run } from "./processes.ts"
import { runtimes, testServed } from "./programs.ts"
import { shared, test } from "./support.ts"

const page = "/pi.PiCalculator/Calc?connect=v1&encoding=json&message=%7B%22n%22%3A999%7D"

const bundle = Effect.map(
  run({
    command: "bun",
    args: ["build", "tests/interop/clients/browser.ts", "--target=browser", "--format=iife"],
  }),
  printedBy,
)

const protocols: ReadonlyArray<Protocol> = ["gRPC-Web", "Connect", "Connect with JSON and GET"]

for (const runtime of runtimes) {
  describe(`Chromium and our server on ${runtime} with TLS`, () => {
    const seen = shared(
      Effect.gen(function* () {
        const script = yield* bundle
        const { url } = yield* testServed(runtime, true)
        const { evaluateAt } = yield* chromium
        return yield* evaluateAt<Seen>(`${url}${page}`, script, "globalThis.seen")
      }),
    )

    const look = (name: string, body: (seen: Seen) => void) => test(name, () => Effect.sync(() => body(seen())))

    look("it shows the answer to a GET as a page, which came by HTTP/2", ({ page, navigation }) => {
      assertNear(JSON.parse(page).value, pi(999))
      assert.deepEqual(navigation, ["h2"])
    })

    look("all the calls of the page went by HTTP/2", ({ resources }) => {
      assert.ok(resources.length > 300, `${resources.length}`)
      assert.deepEqual(
        resources.filter((protocol) => protocol !== "h2"),
        [],
      )
    })

    for (const name of protocols) {
      const ofProtocol = (what: string, body: (seen: Seen["byProtocol"][string]) => void) =>
        look(`${name}: ${what}`, ({ byProtocol }) => body(byProtocol[name] ?? assert.fail("nothing was seen")))

      ofProtocol("a hundred calls at once get each its own answer", ({ values }) => {
        assert.equal(values.length, 100)
        for (const [index, value] of values.entries()) assertNear(value, pi(index + 1))
      })

      ofProtocol("a stream gives its answers in order", ({ streamed }) => assert.deepEqual(streamed, upTo(1000)))

      ofProtocol("a stream can be left", ({ taken, left }) => {
        assert.equal(taken, 100)
        assert.match(left, /abort/)
      })

      ofProtocol("an error has its code, message and details", ({ error }) =>
        assert.deepEqual(error, {
          message: "[invalid_argument] request number should be positive",
          field: "n",
        }),
      )

      ofProtocol("metadata and a large message go there and back", ({ header, length }) =>
        assert.deepEqual({ header, length }, { header: "ada", length: 1_000_000 }),
      )
    }
  })
}
