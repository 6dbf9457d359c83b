/**
 * Open files: how many connections a process may have before it runs out of descriptors. One that has none left can't even
 * refuse: Bun spins then, and Deno accepts nothing ever after.
 *
 * Source: proc(5), /proc/pid/limits.
 */
import { readFileSync } from "node:fs"

// What a process is given where nobody chose: of most systems.
const usual = 1024
const enough = 65_536
// What a process has open beside connections: its runtime's files, its own, connections of its own to others.
const leastReserve = 64
const reserveShare = 0.1

/** How many files the process may have open; `undefined` where the system doesn't say, or we may not ask. */
const limitOfOpenFiles = (): number | undefined => {
  if (!mayRead()) return undefined
  try {
    const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? []
    if (soft === undefined) return undefined
    return soft === "unlimited" ? enough : Number(soft)
  } catch {
    // Not Linux, or no /proc.
    return undefined
  }
}

interface DenoPermissions {
  readonly permissions: { readonly querySync: (of: { readonly name: "read" }) => { readonly state: string } }
}

// Deno asks whoever sits at the terminal for what it wasn't allowed, and lets nobody read /proc who may not read all.
const mayRead = (): boolean => {
  // There under Deno alone, whose types aren't those that we compile with.
  const { Deno } = globalThis as { readonly Deno?: DenoPermissions }
  return Deno === undefined || Deno.permissions.querySync({ name: "read" }).state === "granted"
}

/** How many connections there may be where nobody chose, for a limit of open files. */
export const connectionsFor = (files: number): number =>
  Math.min(enough, Math.max(Math.floor(files / 2), files - Math.max(leastReserve, Math.floor(files * reserveShare))))

let known: number | undefined

/** The same for this process, asked for once. */
export const defaultMaxConnections = (): number => {
  known ??= connectionsFor(limitOfOpenFiles() ?? usual)
  return known
}
