/**
 * The flags that make a server speak TLS.
 */
import { Effect, FileSystem, Option } from "effect"
import { Flag } from "effect/cli"
import { type TlsOptions, tlsFault } from "../transport/net/tls.ts"
import { UsageError } from "./failure.ts"

const pem = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar("file"), Flag.withDescription(description), Flag.optional)

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

const flagOf = { cert: "--cert", key: "--key", clientCa: "--client-ca" } as const

const read = (option: keyof TlsOptions, path: string) =>
  Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString(path)).pipe(
    Effect.mapError(({ reason }) => {
      const why =
        reason._tag === "NotFound"
          ? "there is no such file: check the path"
          : "it can't be read: check that this user may (under Deno with --allow-read)"
      return new UsageError({ message: `${flagOf[option]} ${path}: ${why}` })
    }),
  )

/** What the flags ask for; `undefined` without them. */
export const readTls = Effect.fnUntraced(function* (flags: TlsFlags) {
  const [cert, key, clientCa] = [flags.cert, flags.key, flags.clientCa].map(Option.getOrUndefined)
  if (cert === undefined && key === undefined && clientCa === undefined) return undefined
  if (cert === undefined || key === undefined) {
    const given = cert !== undefined ? "--cert" : key !== undefined ? "--key" : "--client-ca"
    const missing = cert === undefined ? (key === undefined ? "--cert and --key" : "--cert") : "--key"
    return yield* new UsageError({
      message: `${given} needs ${missing}: TLS takes a certificate and its key`,
    })
  }
  const tls: TlsOptions = {
    cert: yield* read("cert", cert),
    key: yield* read("key", key),
    ...(clientCa === undefined ? {} : { clientCa: yield* read("clientCa", clientCa) }),
  }
  const fault = tlsFault(tls)
  if (fault === undefined) return tls
  const path = { cert, key, clientCa }[fault.option]
  return yield* new UsageError({ message: `${flagOf[fault.option]} ${path} ${fault.message}` })
})
