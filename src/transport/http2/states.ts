/**
 * The states of a stream, as a table.
 *
 * Source: RFC 9113, section 5.1. The reserved states are left out: nothing here is ever pushed.
 */

export const state = {
  idle: 0,
  open: 1,
  halfClosedLocal: 2,
  halfClosedRemote: 3,
  closed: 4,
} as const

export type State = (typeof state)[keyof typeof state]

export const event = {
  sendHeaders: 0,
  receiveHeaders: 1,
  sendEnd: 2,
  receiveEnd: 3,
  reset: 4,
} as const

export type Event = (typeof event)[keyof typeof event]

/** What is not allowed in a state. */
export const illegal = -1

const { open, halfClosedLocal, halfClosedRemote, closed } = state

// A row a state, a column an event, in the order they have above.
const transitions: ReadonlyArray<ReadonlyArray<State | typeof illegal>> = [
  //                   sendHeaders       receiveHeaders    sendEnd           receiveEnd        reset
  /* idle */ [open, open, illegal, illegal, illegal],
  /* open */ [open, open, halfClosedLocal, halfClosedRemote, closed],
  /* halfClosedLocal */ [illegal, halfClosedLocal, illegal, closed, closed],
  /* halfClosedRemote */ [halfClosedRemote, illegal, closed, illegal, closed],
  /* closed */ [illegal, illegal, illegal, illegal, closed],
]

/** The state after an event, or `illegal`. */
export const next = (from: State, on: Event): State | typeof illegal => transitions[from]?.[on] ?? illegal
