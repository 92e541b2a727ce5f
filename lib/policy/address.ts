/**
 * Addresses and ranges of addresses, as the operator `IpAddress` compares them. An IPv4 address in an IPv6 spelling (`::ffff:10.0.0.1`,
 * `::10.0.0.1`) is that IPv4 address. A zone (`fe80::1%eth0`) is ignored.
 *
 * What programs read differently is not an address: `10`, `012.1.1.1`, `0x1.2.3.4`, also behind `::ffff:`.
 */
import { BlockList, isIPv4, isIPv6, SocketAddress } from 'node:net'
import type { Placed } from './syntax.ts'

/**
 * The test whether a text is an address in one of the ranges. A range is an address, or `address/bits`; for a text that is neither, what
 * `wrong` returns is thrown.
 */
export const inRanges = (ranges: readonly Placed[], wrong: (range: Placed) => Error): ((text: string) => boolean) => {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() } // in one list, ::/0 would also hold IPv4 addresses
  for (const range of ranges) {
    const parsed = parseRange(range.text)
    if (parsed === undefined) throw wrong(range)
    const { address, family, bits } = parsed
    lists[family].addSubnet(address, bits, family)
  }
  return text => {
    const parsed = parseAddress(text)
    return parsed !== undefined && lists[parsed.family].check(parsed.address, parsed.family)
  }
}

/**
 * Whether a range takes in so many addresses that S3 calls a policy which lets it in public: more than a /8 of IPv4, more than a /32 of IPv6. So
 * is what is no range.
 */
export const isBroad = (range: string): boolean => {
  const parsed = parseRange(range)
  return parsed === undefined || parsed.bits < (parsed.family === 'ipv4' ? 8 : 32)
}

interface Address {
  /** Without a zone. */
  readonly address: string
  readonly family: 'ipv4' | 'ipv6'
}

interface Range extends Address {
  /** How many leading bits count. */
  readonly bits: number
}

/** Longer than every address with a zone. It keeps hostile texts away from the parsers behind. */
const maxLength = 64

const parseAddress = (text: string): Address | undefined => {
  if (text.length > maxLength) return undefined
  if (isIPv4(text)) return { address: text, family: 'ipv4' }
  const bare = text.replace(/%[0-9a-z]+$/i, '')
  if (bare.includes('%') || !isIPv6(bare)) return undefined
  const { address } = new SocketAddress({ address: bare, family: 'ipv6' })
  const [, ipv4] = /^::ffff:(\d+\..*)/.exec(address) ?? /^::(\d+\..*)/.exec(bare) ?? []
  return ipv4 === undefined ? { address: bare, family: 'ipv6' } : { address: ipv4, family: 'ipv4' }
}

const parseRange = (range: string): Range | undefined => {
  const [text = '', bitsText, ...more] = range.split('/')
  const parsed = parseAddress(text)
  if (parsed === undefined || more.length > 0) return undefined
  const size = parsed.family === 'ipv4' ? 32 : 128
  if (bitsText === undefined) return { ...parsed, bits: size }
  // The bits of an IPv4 range in an IPv6 spelling could count from the front of either.
  if (size === 32 && text.includes(':')) return undefined
  if (!/^(?:0|[1-9]\d{0,2})$/.test(bitsText) || Number(bitsText) > size) return undefined
  return { ...parsed, bits: Number(bitsText) }
}
