/**
 * Names that DNS is asked for: a host with a port, or a service that has records of type SRV.
 */

export type Name =
  /** Its addresses are asked for. */
  | { readonly host: string; readonly port: number }
  /** Its records of type SRV say hosts and ports. */
  | { readonly service: string }

const pattern = /^(?:\[([0-9a-f:.]+)\]|([^:/\s[\]]+))(?::(\d{1,5}))?$/i

/** `host:port`, `[::1]:port`, or a service's name, which has no port; `undefined` for none of them. */
export const parseName = (name: string): Name | undefined => {
  const [matched, v6, other, port] = pattern.exec(name) ?? []
  const host = v6 ?? other
  if (matched === undefined || host === undefined) return undefined
  if (port === undefined) return other === undefined ? undefined : { service: other }
  return Number(port) > 0 && Number(port) < 65536 ? { host, port: Number(port) } : undefined
}
