/**
 * Networks: which addresses share what one peer may have.
 */

const groups = 8
const groupsOfNetwork = 4

/**
 * The address that shares are counted for: an IPv4 address as it is, and of an IPv6 address its first 64 bits, since one
 * host may have all addresses behind them.
 *
 * Source: RFC 4291, section 2.5.4, and RFC 6177.
 *
 * @example
 * networkOf("2001:db8::7") // "2001:db8:0:0"
 */
export const networkOf = (address: string): string => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  if (!address.includes(":")) return address
  const [first = "", second] = address.split("%", 1)[0]?.split("::") ?? []
  const before = first === "" ? [] : first.split(":")
  const after = second === undefined || second === "" ? [] : second.split(":")
  const all = [...before, ...Array.from({ length: groups - before.length - after.length }, () => "0"), ...after]
  return all.slice(0, groupsOfNetwork).join(":")
}
