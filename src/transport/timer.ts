/** What setTimeout can wait, in milliseconds: it fires at once for anything longer. */
export const maxTimerMillis = 2 ** 31 - 1
