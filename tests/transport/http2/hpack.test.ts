import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { Decoder, Encoder, type Field, HpackError } from "../../../src/transport/http2/hpack.ts"
import { staticTable } from "../../../src/transport/http2/hpackStaticTable.ts"
import { huffmanDecode, huffmanRoom } from "../../../src/transport/http2/huffman.ts"

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(/\s/g, ""), "hex")

const list = (...pairs: ReadonlyArray<readonly [string, string]>): ReadonlyArray<Field> =>
  pairs.map(([name, value]) => ({ name, value }))

const frozen = (...pairs: ReadonlyArray<readonly [string, string]>): ReadonlyArray<Field> =>
  Object.freeze(list(...pairs))

const newDecoder = (maxListSize = 1 << 20, maxTableSize = 4096): Decoder => new Decoder({ maxListSize, maxTableSize })

/** Decodes a block out of the middle of a buffer, which must not matter. */
const decode = (decoder: Decoder, block: Uint8Array | string) => {
  const bytes = typeof block === "string" ? hex(block) : block
  return decoder.decode(Uint8Array.of(0x82, 0xbe, ...bytes, 0x00, 0xff), 2, 2 + bytes.length)
}

const encode = (encoder: Encoder, fields: ReadonlyArray<Field>): Uint8Array => {
  const bound = Encoder.bound(fields)
  const out = new Uint8Array(bound + 6).fill(0xaa)
  const end = encoder.encode(fields, out, 3)
  assert.ok(end - 3 <= bound, `${end - 3} bytes are over the bound ${bound}`)
  assert.deepEqual([...out.subarray(0, 3), ...out.subarray(end)], Array(out.length - end + 3).fill(0xaa))
  return out.slice(3, end)
}

const encodeHex = (encoder: Encoder, fields: ReadonlyArray<Field>): string =>
  Buffer.from(encode(encoder, fields)).toString("hex")

const assertMalformed = (block: string, decoder = newDecoder()) =>
  assert.throws(() => decode(decoder, block), HpackError, block)

/** The block of a string literal without Huffman. */
const literal = (text: string): ReadonlyArray<number> => [
  ...integer(0, 0x7f, text.length),
  ...Buffer.from(text, "latin1"),
]

const integer = (bits: number, mask: number, value: number): ReadonlyArray<number> => {
  if (value < mask) return [bits | value]
  const bytes = [bits | mask]
  let left = value - mask
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push(0x80 | (left & 0x7f))
  return [...bytes, left]
}

/** An independent decoder, as simple as the RFC's text: a list for the table, and nothing remembered. */
class Model {
  table: Array<Field> = []
  maxSize = 4096

  decode(bytes: ReadonlyArray<number>, maxTableSize: number): ReadonlyArray<Field> {
    const left = [...bytes]
    const fail = (): never => {
      throw new HpackError("model")
    }
    const next = (): number => left.shift() ?? fail()
    const int = (first: number, mask: number): number => {
      let value = first & mask
      if (value < mask) return value
      for (let i = 0; i < 5; i++) {
        const byte = next()
        value += (byte & 127) * 128 ** i
        if (byte < 128) return value < 2 ** 31 ? value : fail()
      }
      return fail()
    }
    const string = (): string => {
      const first = next()
      const length = int(first, 127)
      if (length > left.length) fail()
      const raw = Uint8Array.from(left.splice(0, length))
      if (first < 128) return Buffer.from(raw).toString("latin1")
      const out = new Uint8Array(huffmanRoom(length))
      const decoded = huffmanDecode(raw, 0, length, out)
      return decoded < 0 ? fail() : Buffer.from(out.subarray(0, decoded)).toString("latin1")
    }
    const at = (index: number): Field => [...staticTable, ...this.table][index] ?? fail()
    const literal = (index: number) => ({ name: index === 0 ? string() : at(index).name, value: string() })
    const fields: Array<Field> = []
    let updates = 0
    while (left.length > 0) {
      const first = next()
      if (first >= 128) fields.push(at(int(first, 127)))
      else if (first >= 64) {
        const field = literal(int(first, 63))
        this.table.unshift(field)
        this.evict()
        fields.push(field)
      } else if (first >= 32) {
        if (fields.length > 0 || ++updates > 2) fail()
        this.maxSize = int(first, 31)
        if (this.maxSize > maxTableSize) fail()
        this.evict()
      } else if (first >= 16) fields.push({ ...literal(int(first, 15)), sensitive: true })
      else fields.push(literal(int(first, 15)))
    }
    return fields
  }

  private evict(): void {
    const size = () => this.table.reduce((sum, { name, value }) => sum + name.length + value.length + 32, 0)
    while (size() > this.maxSize) this.table.pop()
  }
}

// Appendix C. `table` is the dynamic table after each block, the newest field first.
interface Step {
  readonly block: string
  readonly fields: ReadonlyArray<Field>
  readonly table: ReadonlyArray<Field>
}

const authority = [":authority", "www.example.com"] as const
const noCache = ["cache-control", "no-cache"] as const
const custom = ["custom-key", "custom-value"] as const
const request = [":method", "GET"] as const

const requests = (first: string, second: string, third: string): ReadonlyArray<Step> => [
  { block: first, fields: list(request, [":scheme", "http"], [":path", "/"], authority), table: list(authority) },
  {
    block: second,
    fields: list(request, [":scheme", "http"], [":path", "/"], authority, noCache),
    table: list(noCache, authority),
  },
  {
    block: third,
    fields: list(request, [":scheme", "https"], [":path", "/index.html"], authority, custom),
    table: list(custom, noCache, authority),
  },
]

const cachePrivate = ["cache-control", "private"] as const
const date21 = ["date", "Mon, 21 Oct 2013 20:13:21 GMT"] as const
const date22 = ["date", "Mon, 21 Oct 2013 20:13:22 GMT"] as const
const location = ["location", "https://www.example.com"] as const
const gzip = ["content-encoding", "gzip"] as const
const cookie = ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"] as const

const responses = (first: string, second: string, third: string): ReadonlyArray<Step> => [
  {
    block: first,
    fields: list([":status", "302"], cachePrivate, date21, location),
    table: list(location, date21, cachePrivate, [":status", "302"]),
  },
  {
    block: second,
    fields: list([":status", "307"], cachePrivate, date21, location),
    table: list([":status", "307"], location, date21, cachePrivate),
  },
  {
    block: third,
    fields: list([":status", "200"], cachePrivate, date22, location, gzip, cookie),
    table: list(cookie, gzip, date22),
  },
]

const examples: Readonly<Record<string, { readonly tableSize?: number; readonly steps: ReadonlyArray<Step> }>> = {
  "C.2.1, a literal that enters the table": {
    steps: [
      {
        block: "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        fields: list(["custom-key", "custom-header"]),
        table: list(["custom-key", "custom-header"]),
      },
    ],
  },
  "C.2.2, a literal that doesn't": {
    steps: [{ block: "040c 2f73 616d 706c 652f 7061 7468", fields: list([":path", "/sample/path"]), table: [] }],
  },
  "C.2.3, a literal that never may": {
    steps: [
      {
        block: "1008 7061 7373 776f 7264 0673 6563 7265 74",
        fields: [{ name: "password", value: "secret", sensitive: true }],
        table: [],
      },
    ],
  },
  "C.2.4, an index": { steps: [{ block: "82", fields: list(request), table: [] }] },
  "C.3, requests": {
    steps: requests(
      "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "8286 84be 5808 6e6f 2d63 6163 6865",
      "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ),
  },
  "C.4, requests with Huffman": {
    steps: requests(
      "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
      "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ),
  },
  "C.5, responses": {
    tableSize: 256,
    steps: responses(
      `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d
       546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
      "4803 3330 37c1 c0bf",
      `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f
       6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b
       2076 6572 7369 6f6e 3d31`,
    ),
  },
  "C.6, responses with Huffman": {
    tableSize: 256,
    steps: responses(
      `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7
       8f0b 97c8 e9ae 82ae 43d3`,
      "4883 640e ffc1 c0bf",
      `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335
       dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
    ),
  },
}

describe("appendix C", () => {
  for (const [name, { tableSize = 4096, steps }] of Object.entries(examples)) {
    test(`${name}: is decoded, with the table it gives`, () => {
      const decoder = newDecoder()
      decode(decoder, Uint8Array.from(integer(0x20, 0x1f, tableSize)))
      for (const { block, fields, table } of steps) {
        assert.deepEqual(decode(decoder, block), fields)
        assert.deepEqual(
          decode(
            decoder,
            Uint8Array.from(table, (_, i) => 0xbe + i),
          ),
          table,
        )
      }
      assert.throws(() => decode(decoder, Uint8Array.of(0xbe + (steps.at(-1)?.table.length ?? 0))), HpackError)
    })

    test(`${name}: the same lists are encoded and decoded again`, () => {
      const encoder = new Encoder()
      encoder.setMaxTableSize(tableSize)
      const decoder = newDecoder()
      for (const { fields } of steps) assert.deepEqual(decode(decoder, encode(encoder, fields)), fields)
    })

    test(`${name}: each block that is cut short is a shorter list, or malformed`, () => {
      const whole = steps.map(({ block }) => hex(block))
      for (const [step, block] of whole.entries()) {
        for (let length = 0; length < block.length; length++) {
          const decoder = newDecoder()
          decode(decoder, Uint8Array.from(integer(0x20, 0x1f, tableSize)))
          for (const before of whole.slice(0, step)) decode(decoder, before)
          try {
            const fields = decode(decoder, block.subarray(0, length)) ?? []
            assert.deepEqual(fields, steps[step]?.fields.slice(0, fields.length))
          } catch (error) {
            assert.ok(error instanceof HpackError, String(error))
          }
        }
      }
    })
  }

  test("C.1, integers: as the size of a table, both ways", () => {
    for (const [size, block] of [
      [10, "2a"],
      [1337, "3f9a0a"],
    ] as const) {
      const encoder = new Encoder()
      encoder.setMaxTableSize(size)
      assert.equal(encodeHex(encoder, []), block)
      assert.deepEqual(decode(newDecoder(0, size), block), [])
      assertMalformed(block, newDecoder(0, size - 1))
    }
  })

  test("C.4: frozen lists are encoded to the very bytes", () => {
    const encoder = new Encoder()
    for (const { block, fields } of examples["C.4, requests with Huffman"]?.steps ?? []) {
      assert.equal(encodeHex(encoder, Object.freeze([...fields])), block.replaceAll(" ", ""))
    }
  })
})

test("the static table is that of appendix A", () => {
  const fields = appendixA
    .trim()
    .split(/\s+/)
    .map((field): [string, string] => {
      const [name = "", value = ""] = field.split("=")
      return [name, value.replace("_", " ")]
    })
  assert.equal(fields.length, 61)
  assert.deepEqual(
    decode(
      newDecoder(),
      Uint8Array.from(fields, (_, i) => 0x81 + i),
    ),
    list(...fields),
  )
})

const appendixA = `
  :authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 :status=204
  :status=206 :status=304 :status=400 :status=404 :status=500 accept-charset accept-encoding=gzip,_deflate
  accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control
  content-disposition content-encoding content-language content-length content-location content-range content-type
  cookie date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since
  last-modified link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after
  server set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate`

describe("a malformed block", () => {
  test("has an index that no field has", () => {
    assertMalformed("80")
    assertMalformed("be")
    assertMalformed("ff00")
    assertMalformed("7f00 0161")
    assertMalformed("0f30 0161")
    assert.deepEqual(decode(newDecoder(), "bd"), list(["www-authenticate", ""]))
    assert.deepEqual(decode(newDecoder(), "0f2e 0161"), list(["www-authenticate", "a"]))
  })

  test("has an integer over 2^31 - 1, or one of more than 6 bytes", () => {
    // 127 + the number that the rest gives; nothing is that long, so what differs is the reason.
    const reason = (block: string): string => {
      try {
        decode(newDecoder(), block)
      } catch (error) {
        if (error instanceof HpackError) return error.message
      }
      return "none"
    }
    assert.match(reason("ff 80 ff ff ff 07"), /no field has the index 2147483647/)
    assert.match(reason("ff 81 ff ff ff 07"), /integer/)
    assert.match(reason("ff ff ff ff ff 7f"), /integer/)
    assert.match(reason("ff 80 80 80 80 80 00"), /integer/)
    assert.match(reason(`ff ${"80".repeat(100)}`), /integer/)
    assert.match(reason("00 ff ff ff ff ff ff ff 7f"), /integer/)
    // Zeros in front are no error as long as they fit.
    assert.deepEqual(decode(newDecoder(), "0f 80 80 80 80 00 01 61"), list(["accept-charset", "a"]))
  })

  test("ends too early", () => {
    for (const block of ["ff", "ff80", "40", "41", "4101", "4081", "0001", "00016101", "3f", "7f", "00ff"]) {
      assertMalformed(block)
    }
  })

  test("has a string that reaches into the bytes behind it", () => {
    const bytes = hex("41 02 61 62 63")
    assert.throws(() => newDecoder().decode(bytes, 0, 3), HpackError)
    assert.deepEqual(newDecoder().decode(bytes, 0, 4), list([":authority", "ab"]))
  })

  test("has a string that is not in the Huffman code", () => {
    for (const block of ["4181 00", "4182 1fff", "4184 ffffffff", "4181 ff"]) assertMalformed(block)
    assert.deepEqual(decode(newDecoder(), "4181 1f"), list([":authority", "a"]))
    assert.deepEqual(decode(newDecoder(), "4180"), list([":authority", ""]))
  })

  test("is the only thing that bytes can be, and is told from others as the RFC tells them", () => {
    const byte = fc.oneof(
      fc.nat(255),
      fc.constantFrom(0x82, 0xbe, 0xbf, 0xc0, 0x40, 0x41, 0x00, 0x10, 0x20, 0x30, 0x3f, 0x01, 0x02, 0x7f),
    )
    fc.assert(
      fc.property(fc.array(fc.array(byte, { maxLength: 24 }), { maxLength: 4 }), (blocks) => {
        const decoder = newDecoder()
        const model = new Model()
        for (const block of blocks) {
          const expected = attempt(() => model.decode(block, 4096))
          assert.deepEqual(
            attempt(() => decode(decoder, Uint8Array.from(block))),
            expected,
          )
          if (expected === "malformed") return
        }
      }),
      { numRuns: 20_000 },
    )
  })
})

const attempt = <A>(run: () => A): A | "malformed" => {
  try {
    return run()
  } catch (error) {
    assert.ok(error instanceof HpackError, String(error))
    return "malformed"
  }
}

describe("the dynamic table", () => {
  // Fields of 50 bytes each.
  const a = ["aaaaaaaa", "0123456789"] as const
  const b = ["bbbbbbbb", "0123456789"] as const
  const entering = (...pairs: ReadonlyArray<readonly [string, string]>): Uint8Array =>
    Uint8Array.from(pairs.flatMap(([name, value]) => [0x40, ...literal(name), ...literal(value)]))
  const sized = (size: number): Decoder => {
    const decoder = newDecoder()
    decode(decoder, Uint8Array.from(integer(0x20, 0x1f, size)))
    return decoder
  }

  test("keeps what just fits, and no byte more", () => {
    const exact = sized(100)
    decode(exact, entering(a, b))
    assert.deepEqual(decode(exact, "bebf"), list(b, a))
    const short = sized(99)
    decode(short, entering(a, b))
    assert.deepEqual(decode(short, "be"), list(b))
    assertMalformed("bf", short)
  })

  test("is emptied by a field that is larger than it, which is no error", () => {
    const decoder = sized(99)
    const large = ["c", "x".repeat(67)] as const
    assert.deepEqual(decode(decoder, entering(a, large)), list(a, large))
    assertMalformed("be", decoder)
  })

  test("can give a field its name and lose it to that field", () => {
    const decoder = sized(60)
    decode(decoder, entering(a))
    assert.deepEqual(decode(decoder, "7e 02 6162"), list(["aaaaaaaa", "ab"]))
    assert.deepEqual(decode(decoder, "be"), list(["aaaaaaaa", "ab"]))
  })

  test("loses fields when it shrinks, and none of the others when it grows again", () => {
    const decoder = newDecoder()
    decode(decoder, entering(a, b))
    assert.deepEqual(decode(decoder, Uint8Array.of(...integer(0x20, 0x1f, 50), 0xbe)), list(b))
    assert.deepEqual(decode(decoder, Uint8Array.of(...integer(0x20, 0x1f, 4096), 0xbe)), list(b))
    assertMalformed("bf", decoder)
    decode(decoder, "20")
    assertMalformed("be", decoder)
  })

  test("holds hundreds of small fields", () => {
    const decoder = newDecoder(1 << 20, 1 << 16)
    decode(decoder, Uint8Array.from(integer(0x20, 0x1f, 1 << 16)))
    const fields = list(...Array.from({ length: 1500 }, (_, i): [string, string] => ["n", String(i)]))
    const block = fields.flatMap(({ name, value }) => [0x40, ...literal(name), ...literal(value)])
    assert.deepEqual(decode(decoder, Uint8Array.from(block)), fields)
    const indexes = fields.flatMap((_, i) => integer(0x80, 0x7f, 62 + i))
    assert.deepEqual(decode(decoder, Uint8Array.from(indexes)), fields.toReversed())
  })

  test("changes its size at a block's start only, at most twice, and within the limit", () => {
    assert.deepEqual(decode(newDecoder(), "20 3fe11f 82"), list(request))
    assertMalformed("20 20 20")
    assertMalformed("82 20")
    assertMalformed("3fe21f")
    assertMalformed("2a", newDecoder(0, 9))
  })
})

describe("a list over the limit", () => {
  test("is counted with 32 bytes a field", () => {
    assert.deepEqual(decode(newDecoder(42 + 43), "8286"), list(request, [":scheme", "http"]))
    assert.equal(decode(newDecoder(42 + 42), "8286"), undefined)
    assert.deepEqual(decode(newDecoder(0), ""), [])
  })

  test("is undefined, and the next ones are decoded with the table it gives", () => {
    const decoder = newDecoder(100)
    const over = [...literal("a"), ...literal("1".repeat(60)), 0x82, 0x40, ...literal("b"), ...literal("2")]
    assert.equal(decode(decoder, Uint8Array.of(0x40, ...over)), undefined)
    assert.deepEqual(decode(decoder, "be"), list(["b", "2"]))
    assert.deepEqual(decode(decoder, "bf"), list(["a", "1".repeat(60)]))
    assert.equal(decode(decoder, "bebf"), undefined)
    assert.equal(decode(decoder, "bebf"), undefined)
  })

  test("is read to its end: what is malformed there is still an error", () => {
    assertMalformed("8282 80", newDecoder(50))
  })

  test("can't be made to take memory by many indexes of one large field", () => {
    const decoder = newDecoder(16384)
    decode(decoder, Uint8Array.from([0x40, ...literal("n"), ...literal("v".repeat(3000))]))
    let stored = 0
    const { push } = Array.prototype
    Array.prototype.push = function (...items: ReadonlyArray<unknown>) {
      stored += items.length
      return push.apply(this, [...items])
    }
    try {
      assert.equal(decoder.decode(new Uint8Array(100_000).fill(0xbe), 0, 100_000), undefined)
    } finally {
      Array.prototype.push = push
    }
    assert.equal(stored, 5)
    assert.equal(decode(decoder, "bebebebebe")?.length, 5)
    assert.equal(decode(decoder, "bebebebebebe"), undefined)
  })
})

describe("strings", () => {
  const bytesOfAll = String.fromCharCode(...Array(256).keys())

  test("are any bytes, of any length, whether they were seen before or not", () => {
    const decoder = newDecoder()
    const encoder = new Encoder()
    for (const length of [0, 1, 8, 31, 32, 33, 63, 64, 65, 127, 128, 1023, 1024, 1025, 2048, 5000]) {
      for (const text of ["a".repeat(length), bytesOfAll.repeat(20).slice(0, length), `${"b".repeat(length)}\x80`]) {
        const fields = list(["x", text], [text, "y"])
        for (let again = 0; again < 2; again++) {
          const plain = fields.flatMap(({ name, value }) => [0x00, ...literal(name), ...literal(value)])
          assert.deepEqual(decode(decoder, Uint8Array.from(plain)), fields)
          assert.deepEqual(decode(decoder, encode(encoder, fields)), fields)
        }
      }
    }
  })

  test("that differ in one byte only are told apart", () => {
    const decoder = newDecoder()
    for (const [at, other] of [
      [0, "b"],
      [10, "b"],
      [20, "b"],
    ] as const) {
      const text = "a".repeat(21)
      const changed = text.slice(0, at) + other + text.slice(at + 1)
      for (const value of [text, changed, text, changed]) {
        assert.deepEqual(decode(decoder, Uint8Array.from([0x01, ...literal(value)])), list([":authority", value]))
      }
    }
  })
})

describe("the encoder", () => {
  test("announces a smaller table at the next block, once", () => {
    const encoder = new Encoder()
    encoder.setMaxTableSize(0)
    assert.equal(encodeHex(encoder, list(request)), "2082")
    assert.equal(encodeHex(encoder, list(request)), "82")
  })

  test("announces the smallest of several sizes, then the last", () => {
    const encoder = new Encoder()
    for (const size of [100, 50, 60, 1337]) encoder.setMaxTableSize(size)
    assert.equal(encodeHex(encoder, []), "3f133f9a0a")
    for (const size of [2000, 1337]) encoder.setMaxTableSize(size)
    assert.equal(encodeHex(encoder, []), "")
    for (const size of [0, 1337]) encoder.setMaxTableSize(size)
    assert.equal(encodeHex(encoder, []), "203f9a0a")
  })

  test("uses no more than it wants of what the peer allows", () => {
    const encoder = new Encoder()
    encoder.setMaxTableSize(2 ** 32 - 1)
    assert.equal(encodeHex(encoder, []), "")
    const small = new Encoder(10)
    assert.equal(encodeHex(small, []), "2a")
    small.setMaxTableSize(4096)
    assert.equal(encodeHex(small, []), "")
    const large = new Encoder(8192)
    assert.equal(encodeHex(large, []), "")
    large.setMaxTableSize(5000)
    assert.equal(encodeHex(large, []), "3fe926")
  })

  test("lets a field enter the table when it comes again, and at once if its list is frozen", () => {
    const path = list([":path", "/a"])
    const encoder = new Encoder()
    assert.deepEqual(
      [1, 2, 3].map(() => encode(encoder, path)[0]),
      [0x04, 0x44, 0xbe],
    )
    const eager = new Encoder()
    assert.deepEqual(
      [1, 2].map(() => encode(eager, frozen([":path", "/a"]))[0]),
      [0x44, 0xbe],
    )
    assert.equal(encode(new Encoder(), list(["new-name", "/a"]))[0], 0x40)
  })

  test("finds each value of a name in the table, also when older ones have left", () => {
    const encoder = new Encoder()
    encoder.setMaxTableSize(200)
    const first = (value: number) => encode(encoder, frozen(["name", String(value)])).at(-1)
    for (let value = 1; value <= 5; value++) first(value)
    assert.deepEqual([5, 4, 3, 2].map(first), [0xbe, 0xbf, 0xc0, 0xc1])
    // Five fields of 37 bytes fit, a sixth takes the place of the first.
    first(6)
    assert.deepEqual([6, 5, 4, 3, 2].map(first), [0xbe, 0xbf, 0xc0, 0xc1, 0xc2])
    assert.notEqual(first(1), 0xc3)
  })

  test("takes a name from the static table rather than from the other", () => {
    const encoder = new Encoder()
    encode(encoder, frozen([":path", "/a"]))
    assert.equal(encode(encoder, list([":path", "/b"]))[0], 0x04)
  })

  test("keeps fields out of the table that change, but not their names", () => {
    const encoder = new Encoder()
    const timeout = (value: string) => encode(encoder, list(["grpc-timeout", value]))
    assert.equal(timeout("1S")[0], 0x40)
    for (const value of ["2S", "2S", "2S"]) assert.deepEqual([...timeout(value)].slice(0, 2), [0x0f, 62 - 15])
    assert.equal(timeout("1S")[0], 0xbe)
  })

  test("keeps fields out of the table that would take more than a quarter of it", () => {
    const encoder = new Encoder()
    const field = (length: number) => encode(encoder, frozen(["n", "x".repeat(length - 33)]))[0]
    assert.deepEqual([field(1025), field(1025), field(1024), field(1024)], [0x00, 0x00, 0x40, 0xbe])
  })

  test("never lets a sensitive field enter, whatever is in the table", () => {
    const encoder = new Encoder()
    const decoder = newDecoder()
    const open = frozen(["authorization", "x"], ["token", "y"], [":method", "GET"])
    const closed = Object.freeze(open.map((field) => ({ ...field, sensitive: true })))
    for (let again = 0; again < 3; again++) {
      assert.deepEqual(decode(decoder, encode(encoder, closed)), closed)
      assert.deepEqual(decode(decoder, encode(encoder, [...closed])), closed)
    }
    decode(decoder, encode(encoder, open))
    const block = encode(encoder, closed)
    assert.equal(block[0], 0x1f)
    for (const field of closed) assert.equal((encode(encoder, [field])[0] ?? 0) & 0xf0, 0x10)
    assert.deepEqual(decode(decoder, block), closed)
    assert.deepEqual(decode(decoder, encode(encoder, open)), open)
  })

  test("sends Huffman only where that is shorter", () => {
    const encoder = new Encoder(0)
    encode(encoder, [])
    assert.equal(encodeHex(encoder, list([":path", "aa"])), "04026161")
    assert.equal(encodeHex(encoder, list([":path", "aaaa"])), "048318c63f")
    assert.equal(encodeHex(encoder, list([":path", "\n\n"])), "04020a0a")
  })

  test("sends a character that is no byte as a question mark, in step with its table", () => {
    const encoder = new Encoder()
    const decoder = newDecoder()
    for (const name of ["x-a", "x-\u010a"]) {
      const fields = frozen([name, "\u010a\u{1f600}~~~~"])
      const sent = list([name.replace("\u010a", "?"), "???~~~~"])
      for (let again = 0; again < 3; again++) assert.deepEqual(decode(decoder, encode(encoder, fields)), sent)
    }
  })
})

describe("what is remembered", () => {
  test("an equal block gives the same array, until its fields move", () => {
    const decoder = newDecoder()
    decode(decoder, "4001610131")
    const times = [1, 2, 3, 4].map(() => decode(decoder, "82be"))
    for (const fields of times) assert.deepEqual(fields, list(request, ["a", "1"]))
    assert.equal(times[3], times[2])
    decode(decoder, "4001620132")
    for (let again = 0; again < 4; again++) assert.deepEqual(decode(decoder, "82be"), list(request, ["b", "2"]))
    decode(decoder, "20")
    assertMalformed("82be", decoder)
  })

  test("blocks of one length don't take each other's place, however many there are", () => {
    const decoder = newDecoder()
    for (let round = 0; round < 5; round++) {
      for (let index = 1; index <= 61; index++) {
        assert.deepEqual(decode(decoder, Uint8Array.of(0x82, 0x80 | index)), [staticTable[2], staticTable[index]])
      }
    }
  })

  test("a frozen list gives the same bytes, until its fields move", () => {
    const encoder = new Encoder()
    const decoder = newDecoder()
    const head = frozen([":status", "200"], ["content-type", "application/grpc"])
    const first = [1, 2, 3].map(() => encodeHex(encoder, head))
    assert.deepEqual(first.slice(1), ["88be", "88be"])
    encode(encoder, frozen(["a", "1"]))
    assert.deepEqual(
      [1, 2, 3].map(() => encodeHex(encoder, head)),
      ["88bf", "88bf", "88bf"],
    )
    encoder.setMaxTableSize(0)
    decode(decoder, "20")
    for (let again = 0; again < 3; again++) assert.deepEqual(decode(decoder, encode(encoder, head)), head)
  })

  // What no caller may do, a change of a frozen list's field, shows whether its block is made anew.
  const remembers = (
    encoder: Encoder,
    field: { name: string; value: string },
    fields: ReadonlyArray<Field>,
  ): boolean => {
    const before = encodeHex(encoder, fields)
    const { value } = field
    field.value = "changed"
    const after = encodeHex(encoder, fields)
    field.value = value
    return before === after
  }

  test("a frozen list is remembered, however many there are", () => {
    const encoder = new Encoder()
    for (let i = 0; i < 20; i++) {
      const field = { name: "n", value: `${i}` }
      const fields = Object.freeze([field])
      encode(encoder, fields)
      assert.ok(remembers(encoder, field, fields))
    }
  })

  test("a frozen list is remembered again after its fields have moved", () => {
    const encoder = new Encoder()
    const field = { name: "n", value: "1" }
    const fields = Object.freeze([field])
    encode(encoder, fields)
    for (let i = 0; i < 20; i++) {
      encode(encoder, frozen(["other", `${i}`]))
      assert.ok(remembers(encoder, field, fields))
    }
  })

  test("blocks of one hash are told apart", () => {
    const decoder = newDecoder()
    for (let round = 0; round < 4; round++) {
      assert.deepEqual(decode(decoder, "82a8"), [staticTable[2], staticTable[40]])
      assert.deepEqual(decode(decoder, "8389"), [staticTable[3], staticTable[9]])
    }
  })

  test("a list that is not frozen may change between two blocks", () => {
    const encoder = new Encoder()
    const decoder = newDecoder()
    const fields = [{ name: "a", value: "1" }]
    for (let i = 0; i < 8; i++) {
      fields.push({ name: "b", value: String(i % 3) })
      assert.deepEqual(decode(decoder, encode(encoder, fields)), fields)
    }
  })
})

describe("an encoder and a decoder", () => {
  const byteText = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((unit) => String.fromCharCode(unit)) })
  const name = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.constantFrom(":path", ":status", "content-type", "te", "x-a", "x-b", "grpc-timeout", ""),
    },
    byteText,
  )
  const value = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.constantFrom("/", "200", "", "1", "2", "3", "trailers", "x".repeat(90), "y".repeat(900)),
    },
    byteText,
  )
  const field: fc.Arbitrary<Field> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ name, value }, { noNullPrototype: true }) },
    fc.record({ name, value, sensitive: fc.constant(true) }, { noNullPrototype: true }),
  )
  const fields = fc.array(field, { maxLength: 8 })
  const size = fc.oneof(fc.constantFrom(0, 32, 64, 100, 200, 256, 1000, 4096, 5000), fc.nat(10_000))

  test("stay in step over any lists and sizes, and with a decoder that remembers nothing", () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ list: fields }) },
      { weight: 4, arbitrary: fc.record({ known: fc.nat(9) }) },
      { weight: 2, arbitrary: fc.record({ size }) },
    )
    fc.assert(
      fc.property(
        fc.array(fields, { minLength: 10, maxLength: 10 }),
        fc.array(step, { maxLength: 60 }),
        fc.constantFrom(undefined, 0, 100, 300, 8192),
        (known, steps, own) => {
          const encoder = new Encoder(own)
          const decoder = newDecoder(1 << 20, 10_000)
          const model = new Model()
          for (const list of known) Object.freeze(list)
          for (const step of steps) {
            if ("size" in step) {
              encoder.setMaxTableSize(step.size)
              continue
            }
            const sent = "list" in step ? step.list : (known[step.known] ?? [])
            const block = encode(encoder, sent)
            assert.deepEqual(model.decode([...block], 10_000), sent)
            assert.deepEqual(decode(decoder, block), sent)
          }
        },
      ),
      { numRuns: 3000 },
    )
  })

  test("agree with the limit of a list's size", () => {
    fc.assert(
      fc.property(fc.array(fields, { maxLength: 10 }), fc.nat(600), (lists, maxListSize) => {
        const encoder = new Encoder()
        const decoder = newDecoder(maxListSize)
        for (const sent of lists) {
          const listSize = sent.reduce((sum, { name, value }) => sum + name.length + value.length + 32, 0)
          assert.deepEqual(decode(decoder, encode(encoder, sent)), listSize <= maxListSize ? sent : undefined)
        }
      }),
      { numRuns: 1000 },
    )
  })
})
