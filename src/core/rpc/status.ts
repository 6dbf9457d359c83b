/**
 * The status codes of gRPC, by name and by number, and what they are in HTTP.
 *
 * Sources: grpc/doc/statuscodes.md, grpc/doc/http-grpc-status-mapping.md, and the Connect protocol's section
 * "Error codes". Both specifications map HTTP statuses to codes alike; only Connect maps codes to HTTP.
 */

// Position is the number on the wire. The HTTP status is the one Connect answers with.
const table = [
  ["ok", 200],
  ["cancelled", 499],
  ["unknown", 500],
  ["invalid_argument", 400],
  ["deadline_exceeded", 504],
  ["not_found", 404],
  ["already_exists", 409],
  ["permission_denied", 403],
  ["resource_exhausted", 429],
  ["failed_precondition", 400],
  ["aborted", 409],
  ["out_of_range", 400],
  ["unimplemented", 501],
  ["internal", 500],
  ["unavailable", 503],
  ["data_loss", 500],
  ["unauthenticated", 401],
] as const

/** The name of any of the 17 codes, in lower case. gRPC's own spelling of `CANCELLED` is kept. */
export type Status = (typeof table)[number][0]

/** The 16 codes that an error can have: all but `ok`. */
export type Code = Exclude<Status, "ok">

/** All 17 names; the index of a name is its number on the wire. */
export const names: ReadonlyArray<Status> = table.map(([name]) => name)

const numbers: ReadonlyMap<string, number> = new Map(table.map(([name], number) => [name, number]))

/**
 * The number of a code on the wire, from 0 to 16.
 *
 * @example toNumber("not_found") // 5
 */
export const toNumber = (status: Status): number => numbers.get(status) ?? 2

/**
 * The code of a number. A number that gRPC doesn't define is `unknown`, as its specification asks of clients.
 *
 * @example fromNumber(5) // "not_found"
 */
export const fromNumber = (number: number): Status => names[number] ?? "unknown"

/**
 * The code of a name in any case, with either spelling of "cancelled"; `undefined` if there is none.
 *
 * @example fromName("NOT_FOUND") // "not_found"
 */
export const fromName = (name: string): Status | undefined => {
  const lower = name.toLowerCase()
  if (lower === "canceled") return "cancelled"
  const number = numbers.get(lower)
  return number === undefined ? undefined : names[number]
}

/**
 * The HTTP status that a Connect answer with this code has.
 *
 * @example toHttp("resource_exhausted") // 429
 */
export const toHttp = (status: Status): number => table[toNumber(status)]?.[1] ?? 500

/**
 * The code of an HTTP answer that is neither gRPC nor Connect, such as a proxy's. Everything the specifications don't
 * name is `unknown`, 200 included: an answer without a status is no success.
 *
 * @example fromHttp(503) // "unavailable"
 */
export const fromHttp = (http: number): Code => {
  switch (http) {
    case 400:
      return "internal"
    case 401:
      return "unauthenticated"
    case 403:
      return "permission_denied"
    case 404:
      return "unimplemented"
    case 429:
    case 502:
    case 503:
    case 504:
      return "unavailable"
    default:
      return "unknown"
  }
}
