/**
 * `self`: this command with other arguments, as a person types it. It begins with the runtime that runs this process.
 */
import { existsSync } from "node:fs"
import { basename, delimiter, dirname, join, relative } from "node:path"
import { runtimeDeno } from "../transport/net/deno.ts"

/** A word as a shell takes it. */
export const word = (text: string): string =>
  /^[\w./:=@,+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

// On Deno a server needs no permission to read the environment. At a terminal Deno would ask for it, and the server would wait
// for an answer before it says anything.
const environment = (name: string): string | undefined => {
  const may = runtimeDeno()?.permissions.querySync({ name: "env", variable: name }).state ?? "granted"
  return may === "granted" ? process.env[name] : undefined
}

const folder = process.cwd()

/** A path as it is shortest to type here. */
const shortest = (path: string): string => {
  const near = relative(folder, path)
  return near.startsWith("..") ? path : near
}

/** A runtime by its name where a shell finds it so. */
const program = (path: string): string => {
  const name = basename(path).replace(/\.exe$/, "")
  const search = environment("PATH")
  const found = search === undefined || search.split(delimiter).some((part) => existsSync(join(part, name)))
  return found ? name : shortest(path)
}

const prefix = (): string => {
  const script = process.argv[1] ?? ""
  // What npm has put on the path for a script of its own isn't there for the person who ran it.
  if (environment("npm_lifecycle_event") === "start") return "npm start --"
  if (basename(script) === "basel") {
    return dirname(script) === join(folder, "node_modules", ".bin") ? "npx basel" : "basel"
  }
  const path = word(shortest(script))
  const runtime = word(program(process.execPath))
  if ("Bun" in globalThis) return `${runtime} run ${path}`
  if (!("Deno" in globalThis)) return `${runtime} ${path}`
  // Started as its tasks are, packages come from Deno's own cache.
  return import.meta.resolve("effect").includes("/node_modules/")
    ? `${runtime} run --allow-net ${path}`
    : `DENO_NO_PACKAGE_JSON=1 ${runtime} run --node-modules-dir=none --allow-net ${path}`
}

export const self = (...args: ReadonlyArray<string>): string => [prefix(), ...args].join(" ")
