/** All cases, in the order in which they run. */
import type { BenchCase } from '../harness.ts'
import { rows } from './chain.ts'
import { checksums } from './checksums.ts'
import { copy } from './copy.ts'
import { floor } from './floor.ts'
import { gateway } from './gateway.ts'
import { kms } from './kms.ts'
import { listing } from './listing.ts'
import { memory } from './memory.ts'
import { multipart } from './multipart.ts'
import { openssl } from './openssl.ts'
import { radosgw } from './radosgw.ts'
import { range } from './range.ts'
import { rivals } from './rivals.ts'
import { small } from './small.ts'
import { streams } from './streams.ts'

/** A case is added here, in bench/README.md, and where it has a goal in goals.ts. */
export const cases: readonly BenchCase[] = [
  floor,
  streams,
  rows,
  rivals,
  openssl,
  small,
  kms,
  range,
  multipart,
  copy,
  checksums,
  gateway,
  radosgw,
  listing,
  memory,
]
