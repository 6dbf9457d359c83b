/**
 * connect-node as a client of the calculator over gRPC, under orders: `connectNodeClient.ts <host:port>`.
 */
import process from "node:process"
import { createClient } from "@connectrpc/connect"
import { createGrpcTransport } from "@connectrpc/connect-node"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { obey } from "../orders.ts"

const [host] = process.argv.slice(2)
const client = createClient(PiCalculator, createGrpcTransport({ baseUrl: `http://${host}` }))

await obey(async (calls) => {
  while (calls.next()) calls.answer((await client.calc({ n: calls.n })).value)
})
