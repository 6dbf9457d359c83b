/**
 * The flags that make a server speak TLS, and a client.
 */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import {
  type ClientTlsOptions,
  clientTlsFault,
  type TlsFault,
  type TlsOptions,
  tlsFault,
} from "../transport/net/tls.ts"
import { UsageError } from "./failure.ts"
import { fileFlag, readFile } from "./file.ts"

const pem = (name: string, description: string) => fileFlag(name).pipe(Flag.withDescription(description), Flag.optional)

const flagOf = { ca: "--ca", cert: "--cert", key: "--key", clientCa: "--client-ca" } as const

type Part = keyof typeof flagOf

type Files = { readonly [K in Part]?: Option.Option<string> }

/** What stands in the files of the flags that were given. */
const read = Effect.fnUntraced(function* (files: Files) {
  const texts: { -readonly [K in Part]?: string } = {}
  const parts: ReadonlyArray<Part> = ["ca", "cert", "key", "clientCa"]
  for (const option of parts) {
    const path = Option.getOrUndefined(files[option] ?? Option.none())
    if (path !== undefined) texts[option] = yield* readFile(flagOf[option], path)
  }
  return texts
})

/** Fails where one of the two that belong together is missing; `other` is a flag that needs both. */
const checkPair = ({ cert, key }: Files, other?: string): Effect.Effect<void, UsageError> => {
  const [hasCert, hasKey] = [cert, key].map((file) => file !== undefined && Option.isSome(file))
  if (hasCert === hasKey && (hasCert === true || other === undefined)) return Effect.void
  const given = hasCert ? "--cert" : hasKey ? "--key" : other
  const missing = hasCert ? "--key" : hasKey ? "--cert" : "--cert and --key"
  return Effect.fail(new UsageError({ message: `${given} needs ${missing}: TLS takes a certificate and its key` }))
}

const checkFault = (files: Files, fault: TlsFault<Part> | undefined): Effect.Effect<void, UsageError> => {
  if (fault === undefined) return Effect.void
  const path = Option.getOrElse(files[fault.option] ?? Option.none(), () => "")
  return Effect.fail(new UsageError({ message: `${flagOf[fault.option]} ${path} ${fault.message}` }))
}

// ---- A server's

export const tlsFlags = {
  cert: pem("cert", "Speak TLS with this certificate, in PEM; needs --key"),
  key: pem("key", "The private key of --cert, in PEM"),
  clientCa: pem("client-ca", "Turn away clients without a certificate signed by this one, in PEM"),
} as const

export interface TlsFlags {
  readonly cert: Option.Option<string>
  readonly key: Option.Option<string>
  readonly clientCa: Option.Option<string>
}

/** What the flags ask of a server; `undefined` without them. */
export const readTls = Effect.fnUntraced(function* ({ cert, key, clientCa }: TlsFlags) {
  const files: Files = { cert, key, clientCa }
  yield* checkPair(files, Option.isSome(clientCa) ? "--client-ca" : undefined)
  const texts = yield* read(files)
  if (texts.cert === undefined || texts.key === undefined) return undefined
  const tls: TlsOptions = { ...texts, cert: texts.cert, key: texts.key }
  yield* checkFault(files, tlsFault(tls))
  return tls
})

// ---- A client's

export const clientTlsFlags = {
  ca: pem("ca", "Trust servers whose certificate is signed by this one, in PEM, in place of the runtime's own list"),
  cert: pem("cert", "Show this certificate to servers that ask for one, in PEM; needs --key"),
  key: pem("key", "The private key of --cert, in PEM"),
} as const

export interface ClientTlsFlags {
  readonly ca: Option.Option<string>
  readonly cert: Option.Option<string>
  readonly key: Option.Option<string>
}

/** What the flags ask of a client; `undefined` without them. */
export const readClientTls = Effect.fnUntraced(function* ({ ca, cert, key }: ClientTlsFlags) {
  const files: Files = { ca, cert, key }
  yield* checkPair(files)
  const tls: ClientTlsOptions = yield* read(files)
  yield* checkFault(files, clientTlsFault(tls))
  return Object.keys(tls).length === 0 ? undefined : tls
})
