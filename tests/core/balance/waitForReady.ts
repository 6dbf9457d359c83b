/**
 * A layer by which calls wait for a server that can't be reached.
 */
import { intercept } from "../../../src/core/layers/intercept.ts"

export const waitForReady = intercept((call, next) => next({ ...call, waitForReady: true }))
