/**
 * Why an address can't be listened on.
 */
import { Data } from "effect"
import { authority } from "./address.ts"

/** An address that can't be listened on, or not with these options. The message says which, why, and what to do. */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly address: string
  readonly message: string
  readonly cause: unknown
}> {}

/** The error for what the system says. */
export const listenError = (host: string, port: number, cause: NodeJS.ErrnoException): ListenError => {
  const address = authority(host, port)
  const why: Partial<Record<string, string>> = {
    EADDRINUSE: "another process listens there already: end it, or choose another port",
    EACCES: "this user may not listen there: choose a port above 1023",
    EADDRNOTAVAIL: "this machine has no such address: choose another host",
    // Deno's word for the same.
    EINVAL: "this machine has no such address: choose another host",
    ENOTFOUND: "there is no such host name: choose another host",
    ENOTSUP: "this system can't share a port among processes: listen in one, without reusePort",
  }
  return new ListenError({
    address,
    message: `cannot listen on ${address}: ${why[cause.code ?? ""] ?? cause.message}`,
    cause,
  })
}
