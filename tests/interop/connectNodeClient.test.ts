/**
 * connect-node as a client of our server, in all of its protocols.
 */
import { cases } from "./clients/connectNode.ts"
import { describeCases, pairs } from "./clients.ts"
import { ca } from "./programs.ts"

for (const pair of pairs) {
  describeCases("connect-node", "tests/interop/clients/connectNode.ts", cases, pair, ({ url }) =>
    pair.secure ? [url, ca] : [url],
  )
}
