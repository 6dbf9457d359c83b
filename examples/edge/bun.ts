import { handler } from "./handler.ts"

const { url } = Bun.serve({ hostname: "127.0.0.1", port: Number(process.argv[2] ?? 8080), fetch: handler })
process.stdout.write(`listening on ${url.origin}\n`)
