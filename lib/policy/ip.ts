/** IP addresses and ranges (CIDR), version 4 and 6, by `ipaddr.js`. An IPv4 address in IPv6 dress (`::ffff:10.0.0.1`) is the IPv4 one. */

import ipaddr from 'ipaddr.js'

/** An address. */
export type Address = ipaddr.IPv4 | ipaddr.IPv6

/** All addresses that have their first `bits` bits in common with `base`. */
export interface AddressRange {
  /** Any address of the range. */
  readonly base: Address
  /** 0 to 32 or 128. */
  readonly bits: number
}

/** Longer than every address with a zone; keeps hostile texts away from the regular expressions behind. */
const maxLength = 64

/**
 * An address, or `undefined` where it is none. Strict: `ipaddr.js` alone would also take `10`, `012.1.1.1` and `0x1.2.3.4`, which other
 * programs read as other addresses.
 */
export const parseAddress = (text: string): Address | undefined => {
  if (text.length > maxLength) return undefined
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text)
  if (!text.includes(':') || !ipaddr.IPv6.isValid(text)) return undefined
  const address = ipaddr.IPv6.parse(text)
  return address.isIPv4MappedAddress() ? address.toIPv4Address() : address
}

/** A range: an address alone, or `address/bits`; `undefined` where it is none. */
export const parseRange = (range: string): AddressRange | undefined => {
  const [text = '', bitsText, ...more] = range.split('/')
  const base = parseAddress(text)
  if (base === undefined || more.length > 0) return undefined
  const size = base.kind() === 'ipv4' ? 32 : 128
  if (bitsText === undefined) return { base, bits: size }
  // The bits of an IPv4 range in IPv6 dress could be meant either way.
  if (size === 32 && text.includes(':')) return undefined
  if (!/^(?:0|[1-9]\d{0,2})$/.test(bitsText) || Number(bitsText) > size) return undefined
  return { base, bits: Number(bitsText) }
}

/** Whether the address lies in the range. */
export const inRange = (address: Address, { base, bits }: AddressRange): boolean =>
  address.kind() === base.kind() && address.match(base, bits)
