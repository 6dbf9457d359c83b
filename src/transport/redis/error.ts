/**
 * What goes wrong with Redis: as it is told to who starts a store, and to who calls it.
 */
import { Data } from "effect"
import { errorInfo } from "../../core/rpc/details.ts"
import { RpcError } from "../../core/rpc/error.ts"
import type { Code } from "../../core/rpc/status.ts"

/** A Redis that can't be used as it was asked for. The message says what is wrong and what to do. */
export class RedisError extends Data.TaggedError("RedisError")<{
  /** The address without its password. */
  readonly address: string
  readonly message: string
  readonly cause?: unknown
}> {}

/** The reason of the google.rpc.ErrorInfo that says of a write that nobody knows whether it was done. */
export const writeFateUnknown = "WRITE_FATE_UNKNOWN"

/** A write whose answer was lost, or hasn't come. */
export const unknownFate = (where: string, why: string, cause?: unknown): RpcError =>
  new RpcError({
    code: "unknown",
    message: `${where} ${why} before it answered: nobody knows whether this was written, so read it again`,
    details: [errorInfo({ reason: writeFateUnknown, domain: "basel" })],
    cause,
  })

/** The word that begins an error of Redis, such as WRONGTYPE. */
const wordOf = (error: Error): string => error.message.slice(0, Math.max(0, error.message.indexOf(" ")))

// What Redis says when it will be able to do later what it can't do now. None of these has been done.
const later: Partial<Record<string, string>> = {
  LOADING: "it is reading its data from disk",
  CLUSTERDOWN: "its cluster is down",
  TRYAGAIN: "its cluster is moving the key",
  MASTERDOWN: "it is a replica that has lost its master",
  READONLY: "it has become a replica",
  BUSY: "a script holds it up",
  MISCONF: "it can't save its data to disk and refuses writes",
  NOREPLICAS: "it has too few replicas and refuses writes",
}

/** Why Redis can't do a command yet; `undefined` for any other error. */
export const laterBecause = (error: Error): string | undefined => later[wordOf(error)]

/** Whether a server that was a master isn't one any more. */
export const isDemoted = (error: Error): boolean => wordOf(error) === "READONLY"

/** Whether it doesn't know a script that was called by its digest. */
export const isScriptMissing = (error: Error): boolean => wordOf(error) === "NOSCRIPT"

const noted: Partial<Record<string, readonly [Code, string]>> = {
  WRONGTYPE: [
    "failed_precondition",
    "another program keeps something else than a value under this key: choose another",
  ],
  OOM: ["resource_exhausted", "it has no memory left"],
  // Neither is the caller's doing, so both are ours.
  NOAUTH: ["internal", "it asks for a password"],
  NOPERM: ["internal", "its user may not do this: see its access control list"],
}

/** An error that Redis answered with, as callers get it: what it said itself is for the log of this side. */
export const answered = (where: string, error: Error): RpcError => {
  const [code, why] = noted[wordOf(error)] ?? ["internal", "it refuses the command"]
  return new RpcError({ code, message: `${where}: ${why}`, cause: error })
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""

const untrusted = "its certificate is of no authority that is trusted here: give the one that signed it as tls.ca"

// What an address, a password or a certificate is wrong for, which waiting doesn't mend.
const faults: ReadonlyArray<readonly [RegExp, string]> = [
  [/^WRONGPASS|invalid password/, "it refuses the user or the password: check both in the address"],
  [/^NOAUTH/, "it asks for a password: give it in the address, as in redis://user:password@host"],
  [/^NOPERM/, "its user may not do what a store needs: see its access control list"],
  [/DB index is out of range/, "it has no database of this number: check the one in the address"],
  [/^ERR unknown command .?HELLO|^NOPROTO/, "it is older than Redis 6: give a newer one"],
  [/cluster support disabled/, "it is no cluster: give an address that begins with redis: or rediss:"],
  [/UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|SELF_SIGNED_CERT|UnknownIssuer/, untrusted],
  [
    /ERR_TLS_CERT_ALTNAME_INVALID|NotValidForName/,
    "its certificate is for other names: check the address, or give the name as tls.serverName",
  ],
  [/CERT_HAS_EXPIRED/, "its certificate has expired"],
  [
    /ERR_SSL_WRONG_VERSION_NUMBER|wrong version number|InvalidContentType/i,
    "it speaks no TLS: give an address that begins with redis:",
  ],
  [/certificate[_ ]?required/i, "it asks for a certificate of the client's own: give one as tls.cert and tls.key"],
]

/** What is wrong with the way we connect, if that is why a connection failed. */
export const faultOf = (error: unknown): string | undefined => {
  if (!(error instanceof Error)) return undefined
  const text = `${error.message} ${codeOf(error)}`
  return faults.find(([pattern]) => pattern.test(text))?.[1]
}

const reasons: Partial<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "it closes connections",
  ENOTFOUND: "there is no such host name",
  EAI_AGAIN: "the host name can't be looked up now",
  EHOSTUNREACH: "there is no way to that host",
  ENETUNREACH: "there is no way to that network",
  ETIMEDOUT: "it doesn't answer",
}

/** Why there is no connection, in words that hold nothing secret. */
export const reasonOf = (error: unknown): string => {
  const known = faultOf(error) ?? reasons[codeOf(error)]
  if (known !== undefined) return known
  if (!(error instanceof Error)) return "it went away"
  return /timeout/i.test(`${error.constructor.name} ${error.message}`)
    ? "it doesn't answer"
    : (laterBecause(error) ?? "it went away")
}
