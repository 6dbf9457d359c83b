/**
 * The words behind a status: a client reads the number alone, a person at a terminal both.
 *
 * Source: RFC 9110, section 15.
 */
const reasons: ReadonlyMap<number, string> = new Map([
  [100, "Continue"],
  [200, "OK"],
  [204, "No Content"],
  [304, "Not Modified"],
  [400, "Bad Request"],
  [401, "Unauthorized"],
  [403, "Forbidden"],
  [404, "Not Found"],
  [405, "Method Not Allowed"],
  [408, "Request Timeout"],
  [409, "Conflict"],
  [412, "Precondition Failed"],
  [413, "Content Too Large"],
  [414, "URI Too Long"],
  [415, "Unsupported Media Type"],
  [417, "Expectation Failed"],
  [429, "Too Many Requests"],
  [431, "Request Header Fields Too Large"],
  [499, "Client Closed Request"],
  [500, "Internal Server Error"],
  [501, "Not Implemented"],
  [503, "Service Unavailable"],
  [504, "Gateway Timeout"],
  [505, "HTTP Version Not Supported"],
])

export const reasonOf = (status: number): string => reasons.get(status) ?? ""
