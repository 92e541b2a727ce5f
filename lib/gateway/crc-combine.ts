/**
 * The CRC of a whole from the CRCs of its pieces, by arithmetic on polynomials over GF(2): no byte is read again. Bits are in the order in which
 * these CRCs have them, the highest power last ("reflected"); their common start and end values cancel out.
 */

/** A polynomial without its highest power, and how many bits it has. */
interface Field {
  readonly width: bigint
  readonly polynomial: bigint
}

const fields = {
  crc32: { width: 32n, polynomial: 0xedb88320n },
  crc32c: { width: 32n, polynomial: 0x82f63b78n },
  crc64nvme: { width: 64n, polynomial: 0x9a6c9329ac4bc9b5n },
} as const satisfies Record<string, Field>

/** A checksum that has a value for the whole object where the object came in parts. */
export type CrcName = keyof typeof fields

/** Whether a checksum is one of those. */
export const isCrc = (name: string): name is CrcName => Object.hasOwn(fields, name)

const multiply = ({ width, polynomial }: Field, a: bigint, b: bigint): bigint => {
  let product = 0n
  for (let bit = 1n << (width - 1n), power = b; bit > 0n; bit >>= 1n) {
    if (a & bit) product ^= power
    power = power & 1n ? (power >> 1n) ^ polynomial : power >> 1n
  }
  return product
}

/** The power of x that moves a CRC over so many bytes. */
const shiftOf = (field: Field, bytes: number): bigint => {
  let shift = 1n << (field.width - 1n)
  let square = shift >> 8n // x to the 8: one byte
  for (let left = BigInt(bytes); left > 0n; left >>= 1n) {
    if (left & 1n) shift = multiply(field, shift, square)
    square = multiply(field, square, square)
  }
  return shift
}

/** A piece of a whole: its CRC as big-endian bytes, and its length. */
export interface CrcPiece {
  readonly crc: Uint8Array
  readonly length: number
}

/** The CRC of pieces, one after the other, as big-endian bytes. */
export const combineCrcs = (name: CrcName, pieces: readonly CrcPiece[]): Uint8Array => {
  const field = fields[name]
  const shifts = new Map<number, bigint>() // parts of one length share the work
  let whole = 0n
  for (const { crc, length } of pieces) {
    const shift = shifts.get(length) ?? shiftOf(field, length)
    shifts.set(length, shift)
    whole = multiply(field, shift, whole) ^ crc.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
  }
  return Uint8Array.from({ length: Number(field.width) / 8 }, (_, i, last = field.width - 8n) =>
    Number((whole >> (last - BigInt(8 * i))) & 255n),
  )
}
