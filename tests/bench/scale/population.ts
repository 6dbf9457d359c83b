/**
 * Who there is: the endpoints and clients that the issue of scale is about.
 */

export const endpoints = 10_000

export const clients = 1_000_000

/** The address of one endpoint, as a private network would have it. */
export const address = (i: number): string => `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}:8080`
