import assert from "node:assert/strict"
import { describe, test } from "node:test"
import fc from "fast-check"
import { type Field, HpackError } from "../../../src/transport/http2/hpack.ts"
import { Encoder } from "../../../src/transport/http2/hpackEncoder.ts"
import {
  assertMalformed,
  decode,
  encode,
  encodeHex,
  hex,
  integer,
  list,
  Model,
  newDecoder,
  request,
} from "./hpackSupport.ts"

// Appendix C. `table` is the dynamic table after each block, the newest field first.
interface Step {
  readonly block: string
  readonly fields: ReadonlyArray<Field>
  readonly table: ReadonlyArray<Field>
}

const authority = [":authority", "www.example.com"] as const
const noCache = ["cache-control", "no-cache"] as const
const custom = ["custom-key", "custom-value"] as const

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
