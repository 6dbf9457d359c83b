import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"

const root = join(import.meta.dirname, "..", "..")

interface Locked {
  readonly integrity?: string
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const readJson = (name: string) => JSON.parse(readFileSync(join(root, name), "utf8"))

// What the tests import besides; Deno has no node_modules to find it in where npm has installed nothing.
const ofTests = ["@connectrpc/connect-web", "fast-check"]

test("deno.json names the versions that package.json does", () => {
  const { dependencies, devDependencies, exports } = readJson("package.json")
  const { imports } = readJson("deno.json")
  const ours = Object.entries(exports).map(([path, file]) => [path.replace(".", "basel"), file])
  const all = { ...dependencies, ...Object.fromEntries(ofTests.map((name) => [name, devDependencies[name]])) }
  const theirs = Object.entries(all).map(([name, version]) => [name, `npm:${name}@${version}`])
  assert.deepEqual(imports, Object.fromEntries([...ours, ...theirs]))
})

test("package-lock.json names every platform's package, and its checksum", () => {
  const { packages } = readJson("package-lock.json")
  const entries: ReadonlyArray<[string, Locked]> = Object.entries(packages)
  const missing = entries
    .flatMap(([, { optionalDependencies = {} }]) => Object.keys(optionalDependencies))
    .filter((name) => !(`node_modules/${name}` in packages))
  assert.deepEqual(missing, [], "npm install --package-lock-only adds them")
  const unchecked = entries.filter(([path, { integrity }]) => path !== "" && integrity === undefined)
  assert.deepEqual(unchecked, [])
})

test("deno.lock has the packages of deno.json, and nothing of package.json", () => {
  const { workspace } = readJson("deno.lock")
  const { imports } = readJson("deno.json")
  const packages = Object.values<string>(imports).filter((target) => target.startsWith("npm:"))
  assert.deepEqual(workspace, { dependencies: packages.toSorted() }, "deno task lock writes it anew")
})

test("every dependency is pinned to one version", () => {
  const { dependencies, devDependencies } = readJson("package.json")
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    assert.match(String(version), /^\d+\.\d+\.\d+$/, name)
  }
})
