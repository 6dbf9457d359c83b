/**
 * The keys that begin with a prefix, page by page with SCAN.
 *
 * SCAN finds each key that is there all the time, and some twice if its table shrinks meanwhile: those of the few buckets
 * that it was just in. So it is enough to remember the keys that were given last. Its cursor means something to the process
 * alone that gave it, so a scan ends with the connection to that. Of a cluster all masters are read, one after another: a key
 * that is moved meanwhile from one to another by resharding may be missed.
 *
 * Source: redis.io/docs/latest/commands/scan, "Scan guarantees".
 */
import { Array as Arr, Cause, Effect, type Pull, Stream } from "effect"
import { RpcError } from "../../core/rpc/error.ts"
import type { Commands } from "./commands.ts"
import { escapeGlob } from "./glob.ts"
import type { Node } from "./link.ts"

// How many keys Redis looks at in one go, for which it holds up all others.
const pageSize = 1000
// How many keys are remembered at least, and half of how many at most.
const memory = 8192

/** Remembers what came last. */
class Recent {
  private earlier = new Set<string>()
  private latest = new Set<string>()

  /** Whether it hasn't come lately. */
  add(key: string): boolean {
    if (this.latest.has(key) || this.earlier.has(key)) return false
    if (this.latest.size === memory) {
      this.earlier = this.latest
      this.latest = new Set()
    }
    this.latest.add(key)
    return true
  }
}

const begin = "0"

export const scan = (commands: Commands, keyPrefix: string, prefix: string): Stream.Stream<string, RpcError> => {
  const pattern = `${escapeGlob(keyPrefix + prefix)}*`
  const pages = Effect.gen(function* () {
    const nodes = [...(yield* commands.nodes())]
    const recent = new Recent()
    let node: Node | undefined
    let epoch = 0
    let cursor = begin
    const page: Pull.Pull<Arr.NonEmptyReadonlyArray<string>, RpcError> = Effect.suspend(() => {
      if (node === undefined) {
        node = nodes.pop()
        if (node === undefined) return Cause.done()
        epoch = node.epoch
      }
      const scanned = node
      if (scanned.epoch !== epoch) return Effect.fail(interrupted(commands.where))
      return Effect.flatMap(
        commands.sendTo(scanned, ["SCAN", cursor, "MATCH", pattern, "COUNT", String(pageSize)]),
        (reply) => {
          // It was sent anew on another connection.
          if (scanned.epoch !== epoch) return Effect.fail(interrupted(commands.where))
          const { next, keys } = decodePage(reply)
          cursor = next
          if (cursor === begin) node = undefined
          const found = keys.map((key) => key.slice(keyPrefix.length)).filter((key) => recent.add(key))
          return Arr.isArrayNonEmpty(found) ? Effect.succeed(found) : page
        },
      )
    })
    return page
  })
  return Stream.fromPull(pages)
}

const interrupted = (where: string): RpcError =>
  new RpcError({ code: "unavailable", message: `${where} was lost while its keys were read: read them again` })

const decodePage = (reply: unknown): { readonly next: string; readonly keys: ReadonlyArray<string> } => {
  if (!Array.isArray(reply) || !Array.isArray(reply[1])) throw new TypeError("a page of SCAN is a cursor and keys")
  return { next: String(reply[0]), keys: reply[1].map(String) }
}
