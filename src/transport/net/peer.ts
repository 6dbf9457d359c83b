/**
 * Who is at the other end of a socket.
 */
import type * as net from "node:net"
import * as tls from "node:tls"
import type { Peer } from "../../core/rpc/call.ts"
import { authority } from "./address.ts"

export const peerOf = (socket: net.Socket): Peer => {
  const address = addressOf(socket)
  const certificate = socket instanceof tls.TLSSocket ? socket.getPeerCertificate() : undefined
  // Without a certificate node gives an object without anything in it.
  if (certificate?.subject === undefined) return { address }
  const { CN } = certificate.subject
  // Of several common names none is more the client's than the others. Deno says "" for no other names.
  const subject = typeof CN === "string" ? CN : undefined
  return { address, identity: { subject, names: certificate.subjectaltname || undefined } }
}

const addressOf = ({ remoteAddress, remotePort }: net.Socket): string | undefined =>
  remoteAddress === undefined || remotePort === undefined ? undefined : authority(remoteAddress, remotePort)
