/**
 * Hints: what a person can do about a call that failed, in this command's words.
 */
import { Data, Option } from "effect"
import type { RpcError } from "../core/rpc/error.ts"
import { withoutUser } from "../core/rpc/printable.ts"
import { self } from "./self.ts"

/** A hint, where the cause of the error stands that it belongs to. */
export class Hint extends Data.Error<{ readonly text: string; readonly cause?: unknown }> {}

export const hintOf = ({ cause }: RpcError): string | undefined => (cause instanceof Hint ? cause.text : undefined)

/** The codes that the system has given to what is behind an error. */
const codesOf = ({ cause }: RpcError): ReadonlySet<string> => {
  const codes = new Set<string>()
  // Errors may be each other's cause.
  for (let depth = 0; depth < 8 && cause instanceof Error; depth++) {
    if ("code" in cause && typeof cause.code === "string") codes.add(cause.code)
    cause = cause.cause
  }
  return codes
}

const loopback = /^(https?:\/\/(.*@)?(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:|\/|$)|unix:)/

// What says that no program is there, or no machine.
const nobody = ["ECONNREFUSED", "ENOENT"]
const nowhere = ["ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", ...nobody]

const ofAddress = (error: RpcError, address: string): string | undefined => {
  const codes = codesOf(error)
  const looked = `looked for a server at ${withoutUser(address)}`
  const { message } = error
  if (nobody.some((code) => codes.has(code)) && loopback.test(address)) {
    return `${looked}: start one with "${self("serve")}", or say where it is with --address`
  }
  if (nowhere.some((code) => codes.has(code))) return `${looked}: say with --address where it is`
  if (/speaks no HTTP\/2|before it speaks HTTP\/2/.test(message)) {
    return "it may speak HTTP/1.1 alone: --protocol connect --http-version 1.1 does, or with grpc-web"
  }
  return undefined
}

const ofRegistry = (url: string): string =>
  `looked for servers in ${withoutUser(url)}: "${self("discover", "URL")}" shows who is there, and "${self("serve", "--etcd", "URL")}" puts a server in`

export interface Sought {
  readonly address: string
  readonly discover: Option.Option<string>
}

// As it names the options of a program, which the command has as flags.
const flags: ReadonlyArray<readonly [RegExp, string]> = [
  [/tls\.ca\b/g, "--ca"],
  [/tls\.cert\b/g, "--cert"],
  [/tls\.key\b/g, "--key"],
  [/, or give the name as tls\.serverName/g, ""],
  [/\bhttpVersion\b/g, "--http-version"],
]

/** A message of this side in the command's words; what a server has said stays as it is. */
export const inFlags = (message: string): string =>
  message.startsWith("cannot connect to ")
    ? flags.reduce((text, [option, flag]) => text.replace(option, flag), message)
    : message

/** What there is to be done about a call that failed; `undefined` where that is not known. */
export const hintFor = (error: RpcError, { address, discover }: Sought): string | undefined => {
  if (error.code !== "unavailable") return undefined
  return Option.match(discover, { onNone: () => ofAddress(error, address), onSome: ofRegistry })
}
