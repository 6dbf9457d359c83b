/**
 * `npm run attacks`: each attack on ours, on each runtime, and on the servers of others, in one run; prints a table.
 * With words as arguments, those attacks alone whose names have one of them.
 */
import process from "node:process"
import { type Attack, attacks, type Speaks } from "../attacks/attacks.ts"
import { type Seen, siege } from "../attacks/siege.ts"
import { type Command, Process } from "./process.ts"
import { grpcGo, program } from "./programs.ts"

interface Defender {
  readonly name: string
  readonly speaks: ReadonlyArray<Speaks>
  readonly command: () => Command
}

const all: ReadonlyArray<Speaks> = ["gRPC", "Connect", "HTTP/1.1"]
const ours = (runtime: "bun" | "deno" | "node") => () => program(runtime, "src/main.ts", "serve", "--port", "0")

const defenders: ReadonlyArray<Defender> = [
  { name: "Basel on Bun", speaks: all, command: ours("bun") },
  { name: "Basel on Deno", speaks: all, command: ours("deno") },
  { name: "Basel on Node", speaks: all, command: ours("node") },
  { name: "grpc-go", speaks: ["gRPC"], command: () => grpcGo("server") },
  {
    name: "connect-node on Node",
    speaks: ["gRPC", "Connect"],
    command: () => program("node", "tests/bench/peers/connectNode.ts"),
  },
]

const startMillis = 30_000

/** A server for one attack: what an attack leaves behind would be in the figures of the next. */
const withstood = async ({ command }: Defender, attack: Attack): Promise<Seen> => {
  await using server = new Process(command(), "anywhere")
  const port = Number(await server.said(/127\.0\.0\.1:(\d+)\D/, startMillis))
  return await siege(attack, { host: "127.0.0.1", port, pid: server.pid }, { holdMillis: 1000, restMillis: 5000 })
}

const shown = ({ before, peak, after, slowest, cpu }: Seen): string =>
  `${before.toFixed(0)} → ${peak.toFixed(0)} → ${after.toFixed(0)} MiB, ${slowest === undefined ? "others not served" : `${slowest.toFixed(0)} ms`}, ${cpu.toFixed(1)} s`

const cell = async (defender: Defender, attack: Attack): Promise<string> => {
  if (!defender.speaks.includes(attack.speaks)) return "–"
  try {
    return shown(await withstood(defender, attack))
  } catch (error) {
    return `**ended**: ${String(error).split("\n", 1)[0]}`
  }
}

const words = process.argv.slice(2)
const chosen = attacks.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))

const line = (cells: ReadonlyArray<string>) => process.stdout.write(`| ${cells.join(" | ")} |\n`)
line(["attack", ...defenders.map(({ name }) => name)])
line(["attack", ...defenders].map(() => "---"))
for (const attack of chosen) {
  const cells: Array<string> = []
  for (const defender of defenders) cells.push(await cell(defender, attack))
  line([attack.name, ...cells])
}
// Sockets that an attack has left half closed would keep the process.
process.exit(0)
