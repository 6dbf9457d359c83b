/**
 * The README's code, pasted into a project that has Basel linked: it compiles, and runs on the runtime that the tests run on.
 */
import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { test } from "../effect.ts"
import { root, running, runtimeName, start } from "./command.ts"
import { readme, tour } from "./readmeTour.ts"

interface Snippet {
  readonly name: string
  readonly text: string
}

/** Its code blocks in the order they have there. One that is a file says its name first. */
const snippets: ReadonlyArray<Snippet> = [...readme.matchAll(/^```(?:ts|proto|yaml)\n(.*?)^```$/gms)].map(
  ([, text = ""], at) => {
    const [, name = `snippet${at}.ts`] = /^(?:\/\/|#) (\S+\.\w+)\n/.exec(text) ?? []
    return { name, text }
  },
)

// Where the README's server and etcd are; the test's server is on a free port, and there is no etcd.
const host = "127.0.0.1:8080"
const etcd = "etcd://127.0.0.1:2379/greeter"

const freePort = Effect.promise(async () => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  assert.ok(typeof address === "object" && address !== null)
  return address.port
})

// What the README has its reader install, and Connect-ES for who comes from it.
const linked = ["effect", "@bufbuild", "@connectrpc", "@effect", "bun-types", ".bin"]

const tsconfig = {
  compilerOptions: {
    ...{ target: "es2024", lib: ["es2024", "esnext.disposable", "dom", "dom.iterable"], types: ["bun-types"] },
    ...{ module: "nodenext", strict: true, noEmit: true, skipLibCheck: true },
    ...{ erasableSyntaxOnly: true, allowImportingTsExtensions: true, verbatimModuleSyntax: true },
  },
  include: ["*.ts"],
}

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "basel-readme-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true })),
)

/** Runs a command of the shell in a folder to its end, which is to be a good one, and gives what it prints. */
const shell = (path: string, command: string) =>
  Effect.map(
    Effect.promise(() => start(`{ cd '${path}' && ${command}\n}`).finished),
    ({ code, stdout, stderr }) => {
      assert.equal(code, 0, `${command}: ${stdout}${stderr}`)
      return stdout
    },
  )

/** A project with the snippets in it, whose server is to be at a port. */
const project = Effect.fnUntraced(function* (port: number) {
  const path = yield* folder
  mkdirSync(join(path, "node_modules"))
  symlinkSync(root, join(path, "node_modules", "basel"))
  for (const name of linked) symlinkSync(join(root, "node_modules", name), join(path, "node_modules", name))
  writeFileSync(join(path, "package.json"), JSON.stringify({ type: "module" }))
  writeFileSync(join(path, "tsconfig.json"), JSON.stringify(tsconfig))
  for (const { name, text } of snippets) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    const here = text
      .replaceAll(host, `127.0.0.1:${port}`)
      .replaceAll("port: 8080", `port: ${port}`)
      .replaceAll(etcd, `static:127.0.0.1:${port}`)
    writeFileSync(join(path, name), here)
  }
  yield* shell(path, "buf generate proto")
  return path
})

const run = { bun: "bun run", deno: "deno run --allow-all --no-check --quiet", node: "node" }[runtimeName]

test("the README's code compiles, and runs as it stands there", () =>
  Effect.gen(function* () {
    const port = yield* freePort
    const path = yield* project(port)
    yield* shell(path, "tsc")
    const [step] = tour.flat().filter(({ command }) => command === "node client.ts")
    assert.ok(step, "the README says what the client prints")
    const server = yield* running(`{ cd '${path}' && exec ${run} server.ts\n}`)
    yield* Effect.promise(() => server.said(/listening on/))
    assert.equal((yield* shell(path, `${run} client.ts`)).trimEnd(), step.output.trimEnd())
    for (const name of ["discovering.ts", "migrated.ts"]) {
      assert.equal(yield* shell(path, `${run} ${name}`), "Hello, Ada.\n", name)
    }
    server.signal("SIGINT")
    const { code } = yield* Effect.promise(() => server.finished)
    assert.equal(code, 130, "a signal drains")
    for (const { name } of snippets.filter((one) => one.name.startsWith("snippet"))) {
      assert.match(yield* shell(path, `${run} ${name}`), /^(pi\(\d+\) = \d\.\d+\n)+$/, name)
    }
  }))
