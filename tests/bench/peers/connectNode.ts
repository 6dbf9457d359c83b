/**
 * The pi calculator as connect-node's users write it, with the messages of protobuf-es that ours has, too.
 */
import { createServer } from "node:http2"
import { Code, ConnectError } from "@connectrpc/connect"
import { connectNodeAdapter } from "@connectrpc/connect-node"
import { piClosedForm } from "../../../src/core/pi/series.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { listening } from "./listening.ts"

const checked = (n: number): number => {
  if (n <= 0) throw new ConnectError("request number should be positive", Code.InvalidArgument)
  return n
}

const handler = connectNodeAdapter({
  routes: (router) => {
    router.service(PiCalculator, {
      calc: ({ n }) => ({ value: piClosedForm(checked(n)) }),
      async *calcStream(requests) {
        for await (const { n } of requests) {
          checked(n)
          if (Math.random() < 0.5) yield { n, value: piClosedForm(n) }
        }
      },
      async *calcRange({ first, last }) {
        for (let n = checked(first); n <= last; n++) yield { n, value: piClosedForm(n) }
      },
      async summarize(requests) {
        const summary = { count: 0, min: Number.POSITIVE_INFINITY, max: 0, meanError: 0 }
        for await (const { n } of requests) {
          const value = piClosedForm(checked(n))
          summary.count++
          summary.min = Math.min(summary.min, value)
          summary.max = Math.max(summary.max, value)
          summary.meanError += (Math.abs(Math.PI - value) - summary.meanError) / summary.count
        }
        return summary.count === 0 ? {} : summary
      },
      report: () => ({}),
    })
  },
})

listening(createServer(handler))
