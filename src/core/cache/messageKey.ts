/**
 * A text for a message: the same for two messages of one type only if all of their fields are. Their encoding would be one,
 * too, but takes several times as long to make, and can't be given up where it is going to be too long.
 *
 * It is for messages as protobuf has them: fields are numbers, texts, bytes, truth values, and lists and records of those.
 * `undefined` where it would have more than so many characters.
 *
 * @example messageKey({ n: 999 }, 512) // "{1:n999,}"
 */
export const messageKey = (message: unknown, maxLength: number): string | undefined => {
  const key = append("", message, maxLength)
  return key.length > maxLength ? undefined : key
}

// What may hold a delimiter has its length before it, so that no two values look alike.
const append = (key: string, value: unknown, maxLength: number): string => {
  switch (typeof value) {
    case "number":
      return Object.is(value, -0) ? `${key}-0,` : `${key}${value},`
    case "string":
      return `${key}${value.length}:${value}`
    case "object":
      return value === null ? `${key}null,` : appendObject(key, value, maxLength)
    default:
      return `${key}${value},`
  }
}

const appendObject = (key: string, value: object, maxLength: number): string => {
  let longer = key
  if (value instanceof Uint8Array) {
    longer += `${value.length}:`
    for (let at = 0; at < value.length && longer.length <= maxLength; at += 1) {
      longer += String.fromCharCode(value[at] as number)
    }
    return longer
  }
  if (Array.isArray(value)) {
    longer += "["
    for (const element of value) {
      if (longer.length > maxLength) return longer
      longer = append(longer, element, maxLength)
    }
    return `${longer}]`
  }
  longer += "{"
  // A field that isn't set may have its default further up the chain.
  for (const name of Object.keys(value)) {
    if (longer.length > maxLength) return longer
    longer = append(`${longer}${name.length}:${name}`, Reflect.get(value, name), maxLength)
  }
  return `${longer}}`
}
