import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"

const root = join(import.meta.dirname, "..", "..")
const readJson = (name: string) => JSON.parse(readFileSync(join(root, name), "utf8"))

test("deno.json names the versions that package.json does", () => {
  const { dependencies, exports } = readJson("package.json")
  const { imports } = readJson("deno.json")
  const ours = Object.entries(exports).map(([path, file]) => [path.replace(".", "basel"), file])
  const theirs = Object.entries(dependencies).map(([name, version]) => [name, `npm:${name}@${version}`])
  assert.deepEqual(imports, Object.fromEntries([...ours, ...theirs]))
})

test("every dependency is pinned to one version", () => {
  const { dependencies, devDependencies } = readJson("package.json")
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    assert.match(String(version), /^\d+\.\d+\.\d+$/, name)
  }
})
