/**
 * Chromium without a window, spoken to in its DevTools protocol.
 *
 * Source: chromedevtools.github.io/devtools-protocol
 */
import { createHash, X509Certificate } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { started } from "./processes.ts"
import { certificate } from "./programs.ts"
import { root } from "./tools.ts"

/** The hash of a certificate's key, by which Chromium is told to trust it: our CA is nobody's. */
const keyHash = (file: string): string => {
  const { publicKey } = new X509Certificate(readFileSync(join(root, file)))
  return createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("base64")
}

const options = [
  "--headless",
  // Root may not run its sandbox.
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--no-first-run",
  "--no-proxy-server",
  "--remote-debugging-port=0",
  `--ignore-certificate-errors-spki-list=${keyHash(certificate)}`,
  "about:blank",
]

interface Reply {
  readonly id?: number
  readonly error?: { readonly message: string }
  readonly result?: unknown
}

/** A browser until the scope closes. */
export const chromium = Effect.gen(function* () {
  const profile = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "basel-chromium-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, maxRetries: 5 })),
  )
  const { said, finished } = yield* started({
    command: "chromium",
    args: [`--user-data-dir=${profile}`, ...options],
  })
  const [, address = ""] = yield* said(/DevTools listening on (ws:\S+)/, "stderr")
  const socket = new WebSocket(address)
  yield* Effect.callback<void, Error>((resume) => {
    socket.addEventListener("open", () => resume(Effect.void))
    socket.addEventListener("error", () => resume(Effect.fail(new Error(`no connection to ${address}`))))
  })

  let sent = 0
  const waiting = new Map<number, (reply: Reply) => void>()
  socket.addEventListener("message", ({ data }) => {
    const reply: Reply = JSON.parse(String(data))
    // What has no id is an event.
    if (reply.id !== undefined) waiting.get(reply.id)?.(reply)
  })

  /** Sends a command, to a page if there is a session with one, and gives its result. */
  const send = <A>(method: string, params: object, sessionId?: string) =>
    Effect.callback<A, Error>((resume) => {
      sent += 1
      waiting.set(sent, ({ error, result }) =>
        // The protocol's own description says what each command gives.
        resume(
          error === undefined ? Effect.succeed(result as A) : Effect.fail(new Error(`${method}: ${error.message}`)),
        ),
      )
      socket.send(JSON.stringify({ id: sent, method, params, sessionId }))
    })

  // Its helpers would outlive it if it were killed.
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      Effect.ignore(Effect.timeout(send("Browser.close", {}), "2 seconds")),
      Effect.timeoutOption(Effect.interruptible(finished), "5 seconds"),
    ),
  )

  /** Loads a page, runs a script in it, and gives the value of an expression, awaited. */
  const evaluateAt = Effect.fnUntraced(function* <A>(url: string, script: string, expression: string) {
    const { targetId } = yield* send<{ targetId: string }>("Target.createTarget", { url: "about:blank" })
    const { sessionId } = yield* send<{ sessionId: string }>("Target.attachToTarget", { targetId, flatten: true })
    const { errorText } = yield* send<{ errorText?: string }>("Page.navigate", { url }, sessionId)
    if (errorText !== undefined) return yield* Effect.fail(new Error(`${url}: ${errorText}`))
    const evaluate = (text: string) =>
      Effect.flatMap(
        send<{ result: { value: unknown }; exceptionDetails?: object }>(
          "Runtime.evaluate",
          { expression: text, awaitPromise: true, returnByValue: true },
          sessionId,
        ),
        ({ result, exceptionDetails }) =>
          exceptionDetails === undefined
            ? Effect.succeed(result.value)
            : Effect.fail(new Error(JSON.stringify(exceptionDetails))),
      )
    yield* evaluate(
      'new Promise((r) => document.readyState === "complete" ? r() : addEventListener("load", () => r()))',
    )
    yield* evaluate(script)
    return (yield* evaluate(expression)) as A
  })

  return { evaluateAt }
})
