import { handler } from "./handler.ts"

// Says itself where it listens.
Deno.serve({ hostname: "127.0.0.1", port: Number(Deno.args[0] ?? 8080) }, handler)
