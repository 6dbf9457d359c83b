/** A pattern of Redis that this text alone matches, and what begins with it if a star follows. */
export const escapeGlob = (text: string): string => text.replace(/[\\*?[\]]/g, "\\$&")
