/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4) and CRC-64/NVME (NVM Express, NVM Command Set Specification, "64b CRC"), sixteen bytes a
 * step from sixteen tables. Written here because the packages of the AWS SDK take several times
 * as long (`npm run bench -- --only checksums`). Tests hold these against those.
 */
import { concat, u32, view } from '../../bytes.ts'

/** A polynomial without its highest power, lowest bit last, and how many bits it has. */
interface Field {
  readonly width: bigint
  readonly polynomial: bigint
}

const fields = {
  crc32: { width: 32n, polynomial: 0xedb88320n },
  crc32c: { width: 32n, polynomial: 0x82f63b78n },
  crc64nvme: { width: 64n, polynomial: 0x9a6c9329ac4bc9b5n },
} as const satisfies Record<string, Field>

/** Bytes of a step, and so many tables of 256 numbers one after the other. */
const step = 16

/** The CRC of each byte followed by n zeros, in table n: of its bits the lower and the upper 32. */
const tablesOf = ({ polynomial }: Field): readonly [low: Int32Array, high: Int32Array] => {
  const all: bigint[] = []
  for (let byte = 0n; byte < 256n; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ (crc & 1n ? polynomial : 0n)
    all.push(crc)
  }
  for (let at = 256; at < step * 256; at++) {
    const before = all[at - 256] ?? 0n
    all.push((before >> 8n) ^ (all[Number(before & 255n)] ?? 0n))
  }
  return [
    Int32Array.from(all, crc => Number(BigInt.asIntN(32, crc))),
    Int32Array.from(all, crc => Number(BigInt.asIntN(32, crc >> 32n))),
  ]
}

// Written out below: V8 inlines a helper for the bytes of a word in a short benchmark, and not in a busy server, where it took twice the time.
const [castagnoli] = tablesOf(fields.crc32c)
const [low, high] = tablesOf(fields.crc64nvme)

/** The CRC-32C of `bytes`, or of what `before` is the CRC of followed by them; an unsigned 32-bit number. */
export const crc32c = (bytes: Uint8Array, before = 0): number => {
  const data = view(bytes)
  const steps = bytes.length - (bytes.length % step)
  let crc = ~before
  let i = 0
  for (; i < steps; i += step) {
    const a = crc ^ data.getInt32(i, true)
    const b = data.getInt32(i + 4, true)
    const c = data.getInt32(i + 8, true)
    const d = data.getInt32(i + 12, true)
    crc =
      (castagnoli[3840 | (a & 255)] ?? 0) ^
      (castagnoli[3584 | ((a >>> 8) & 255)] ?? 0) ^
      (castagnoli[3328 | ((a >>> 16) & 255)] ?? 0) ^
      (castagnoli[3072 | (a >>> 24)] ?? 0) ^
      (castagnoli[2816 | (b & 255)] ?? 0) ^
      (castagnoli[2560 | ((b >>> 8) & 255)] ?? 0) ^
      (castagnoli[2304 | ((b >>> 16) & 255)] ?? 0) ^
      (castagnoli[2048 | (b >>> 24)] ?? 0) ^
      (castagnoli[1792 | (c & 255)] ?? 0) ^
      (castagnoli[1536 | ((c >>> 8) & 255)] ?? 0) ^
      (castagnoli[1280 | ((c >>> 16) & 255)] ?? 0) ^
      (castagnoli[1024 | (c >>> 24)] ?? 0) ^
      (castagnoli[768 | (d & 255)] ?? 0) ^
      (castagnoli[512 | ((d >>> 8) & 255)] ?? 0) ^
      (castagnoli[256 | ((d >>> 16) & 255)] ?? 0) ^
      (castagnoli[d >>> 24] ?? 0)
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ (castagnoli[(crc ^ data.getUint8(i)) & 255] ?? 0)
  return ~crc >>> 0
}

/** A running CRC-64/NVME. */
export class Crc64Nvme {
  #low = -1
  #high = -1

  /** Takes bytes and keeps none of them. */
  update(bytes: Uint8Array): void {
    const data = view(bytes)
    const steps = bytes.length - (bytes.length % step)
    let [l, h] = [this.#low, this.#high]
    let i = 0
    for (; i < steps; i += step) {
      const a = l ^ data.getInt32(i, true)
      const b = h ^ data.getInt32(i + 4, true)
      const c = data.getInt32(i + 8, true)
      const d = data.getInt32(i + 12, true)
      l =
        (low[3840 | (a & 255)] ?? 0) ^
        (low[3584 | ((a >>> 8) & 255)] ?? 0) ^
        (low[3328 | ((a >>> 16) & 255)] ?? 0) ^
        (low[3072 | (a >>> 24)] ?? 0) ^
        (low[2816 | (b & 255)] ?? 0) ^
        (low[2560 | ((b >>> 8) & 255)] ?? 0) ^
        (low[2304 | ((b >>> 16) & 255)] ?? 0) ^
        (low[2048 | (b >>> 24)] ?? 0) ^
        (low[1792 | (c & 255)] ?? 0) ^
        (low[1536 | ((c >>> 8) & 255)] ?? 0) ^
        (low[1280 | ((c >>> 16) & 255)] ?? 0) ^
        (low[1024 | (c >>> 24)] ?? 0) ^
        (low[768 | (d & 255)] ?? 0) ^
        (low[512 | ((d >>> 8) & 255)] ?? 0) ^
        (low[256 | ((d >>> 16) & 255)] ?? 0) ^
        (low[d >>> 24] ?? 0)
      h =
        (high[3840 | (a & 255)] ?? 0) ^
        (high[3584 | ((a >>> 8) & 255)] ?? 0) ^
        (high[3328 | ((a >>> 16) & 255)] ?? 0) ^
        (high[3072 | (a >>> 24)] ?? 0) ^
        (high[2816 | (b & 255)] ?? 0) ^
        (high[2560 | ((b >>> 8) & 255)] ?? 0) ^
        (high[2304 | ((b >>> 16) & 255)] ?? 0) ^
        (high[2048 | (b >>> 24)] ?? 0) ^
        (high[1792 | (c & 255)] ?? 0) ^
        (high[1536 | ((c >>> 8) & 255)] ?? 0) ^
        (high[1280 | ((c >>> 16) & 255)] ?? 0) ^
        (high[1024 | (c >>> 24)] ?? 0) ^
        (high[768 | (d & 255)] ?? 0) ^
        (high[512 | ((d >>> 8) & 255)] ?? 0) ^
        (high[256 | ((d >>> 16) & 255)] ?? 0) ^
        (high[d >>> 24] ?? 0)
    }
    for (; i < bytes.length; i++) {
      const at = (l ^ data.getUint8(i)) & 255
      l = ((l >>> 8) | (h << 24)) ^ (low[at] ?? 0)
      h = (h >>> 8) ^ (high[at] ?? 0)
    }
    this.#low = l
    this.#high = h
  }

  /** The CRC of all bytes so far, eight bytes, the highest first. */
  digest(): Uint8Array {
    return concat(u32(~this.#high >>> 0), u32(~this.#low >>> 0))
  }
}

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
