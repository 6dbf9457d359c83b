/**
 * A request that is refused before anybody handles it, by the status that says why. Its connection ends: where the next
 * request would begin is in doubt.
 *
 * Source: RFC 9112, sections 2.2 and 6.3.
 */
export class Refused extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}
