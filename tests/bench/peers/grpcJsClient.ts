/**
 * grpc-js as a client of the calculator, under orders, with the messages of @grpc/proto-loader: `grpcJsClient.ts
 * <host:port>`.
 */
import { join } from "node:path"
import process from "node:process"
import { Client, credentials } from "@grpc/grpc-js"
import { loadSync } from "@grpc/proto-loader"
import { obey } from "../orders.ts"

const [host = ""] = process.argv.slice(2)

const file = join(import.meta.dirname, "..", "..", "..", "proto", "pi.proto")
const service = loadSync(file, { defaults: true })["pi.PiCalculator"]
if (service === undefined || "format" in service) throw new Error("pi.PiCalculator is no service")
const { Calc: method } = service
if (method === undefined) throw new Error("pi.PiCalculator has no Calc")
const { path, requestSerialize, responseDeserialize } = method

const client = new Client(host, credentials.createInsecure())

const calc = (n: number): Promise<object> =>
  new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { n }, (error, response) => {
      if (response === undefined) reject(error)
      else resolve(response)
    })
  })

await obey(async (calls) => {
  while (calls.next()) {
    const response = await calc(calls.n)
    calls.answer("value" in response ? Number(response.value) : Number.NaN)
  }
})
