/**
 * TLS: the certificates of either end, and what is wrong with a server's if they can't be served with.
 */
import { constants, createPrivateKey, X509Certificate } from "node:crypto"
import { isIP } from "node:net"
import type * as tls from "node:tls"

/** Certificates, all of them in PEM. */
export interface TlsOptions {
  /** The private key of `cert`, without a passphrase. */
  readonly key: string
  /** The server's certificate, and behind it those between it and who its clients trust. */
  readonly cert: string
  /** Who signs clients' certificates. With it, a client without a certificate of theirs is turned away. */
  readonly clientCa?: string
}

export interface TlsFault<Option extends string = keyof TlsOptions> {
  readonly option: Option
  /** What is wrong with it and what to do, to be read behind the option's name. */
  readonly message: string
}

/** What would keep clients from being served: found before they come, since Deno finds it only when one does. */
export const tlsFault = ({ key, cert, clientCa }: TlsOptions): TlsFault | undefined =>
  certificateFault("cert", cert) ?? certificateFault("clientCa", clientCa) ?? keyFault(key, cert)

const certificateFault = <Option extends string>(option: Option, pem?: string): TlsFault<Option> | undefined =>
  pem === undefined || attempt(() => new X509Certificate(pem)) !== undefined
    ? undefined
    : { option, message: "is no certificate: give one in PEM, which has the line -----BEGIN CERTIFICATE-----" }

const keyFault = (key: string, cert: string): TlsFault<"key"> | undefined => {
  const secret = attempt(() => createPrivateKey(key))
  if (secret === undefined) {
    const message =
      "is no private key: give one in PEM without a passphrase, which has the line -----BEGIN PRIVATE KEY-----"
    return { option: "key", message }
  }
  return new X509Certificate(cert).checkPrivateKey(secret)
    ? undefined
    : { option: "key", message: "is the key of another certificate: give the one that belongs to this certificate" }
}

const attempt = <A>(make: () => A): A | undefined => {
  try {
    return make()
  } catch {
    return undefined
  }
}

/** The options as the runtime takes them. */
export const toServerOptions = ({ key, cert, clientCa }: TlsOptions): tls.TlsOptions => ({
  key,
  cert,
  ALPNProtocols: ["h2", "http/1.1"],
  // RFC 9113, section 9.2.
  minVersion: "TLSv1.2",
  // Section 9.2.1. It costs a client little and us a handshake each time; Node alone would do it.
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  ...(clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
})

/** What a client shows and trusts, all of it in PEM. */
export interface ClientTlsOptions {
  /** Who signs servers' certificates, in place of those that the runtime trusts. */
  readonly ca?: string
  /** The client's own certificate, for servers that ask for one, and behind it those between it and who they trust. */
  readonly cert?: string
  /** The private key of `cert`, without a passphrase. */
  readonly key?: string
  /** The name that the server's certificate must have. Default: the address's host. */
  readonly serverName?: string
}

/** What would keep a client from connecting, or from showing its certificate, which Deno wouldn't even tell. */
export const clientTlsFault = ({ ca, cert, key }: ClientTlsOptions): TlsFault<"ca" | "cert" | "key"> | undefined => {
  const fault = certificateFault("ca", ca) ?? certificateFault("cert", cert)
  if (fault !== undefined || (cert === undefined && key === undefined)) return fault
  if (cert === undefined) return { option: "cert", message: "is missing: give the certificate that tls.key belongs to" }
  if (key === undefined) return { option: "key", message: "is missing: give the key that belongs to tls.cert" }
  return keyFault(key, cert)
}

/** The same as the runtime takes it. */
export const toClientOptions = ({ ca, cert, key, serverName }: ClientTlsOptions = {}): tls.ConnectionOptions => ({
  ALPNProtocols: ["h2"],
  minVersion: "TLSv1.2",
  ...(ca === undefined ? {} : { ca }),
  ...(cert === undefined ? {} : { cert }),
  ...(key === undefined ? {} : { key }),
  ...(serverName === undefined ? {} : { servername: serverName }),
})

/**
 * The name by which a client calls a host, for the server to choose its certificate by. Bun and Deno tell it by themselves,
 * Node only if it is told to; an IP address is no name (RFC 6066, section 3).
 */
export const nameOf = (host: string): Pick<tls.ConnectionOptions, "servername"> =>
  isIP(host) === 0 ? { servername: host } : {}
