/** What is to be reached, and what a run reached: computed from its rows, never anything else. */
import type { Row, Spread } from './harness.ts'

/** A goal and what was reached. */
export interface Reached {
  readonly goal: string
  readonly wanted: string
  /** `undefined` where this run did not measure it. */
  readonly reached: Spread | undefined
  /** Follows the figure. */
  readonly unit: string
  readonly met: boolean | undefined
  /** Whether it is no goal but the distance to what cannot be passed. */
  readonly isFloor: boolean
}

interface Goal {
  readonly goal: string
  readonly least?: number | typeof shareOfCipher
  readonly most?: number
  readonly unit: string
  readonly find: (rows: readonly Row[]) => Spread | undefined
}

type Wanted = Partial<Pick<Row, 'case' | 'contestant' | 'direction' | 'size'>> & { readonly group?: RegExp }

/** The row that is asked for; of several that of the largest body. */
const rowOf = (rows: readonly Row[], { group, ...wanted }: Wanted): Row | undefined =>
  rows
    .filter(row => group === undefined || group.test(row.group))
    .filter(row =>
      Object.entries(wanted).every(([name, value]) => Object.entries(row).some(([n, v]) => n === name && v === value)),
    )
    .reduce<Row | undefined>(
      (best, row) => (best !== undefined && (best.size ?? 0) >= (row.size ?? 0) ? best : row),
      undefined,
    )

const ratio = (row: Row | undefined, to: RegExp): Spread | undefined => row?.ratios.find(each => to.test(each.to))

const less = (row: Row | undefined, other: Row | undefined): Spread | undefined =>
  row &&
  other && {
    median: row.median - other.median,
    minimum: row.minimum - other.median,
    maximum: row.maximum - other.median,
  }

/** Against the fastest of the rivals under Node that check each segment. */
const fastestRival = (rows: readonly Row[], row: Row | undefined): Spread | undefined => {
  const rivals = rows.filter(other => other.case === 'rivals' && other.segmented === true && other.suite === undefined)
  const names = new Set(rivals.map(({ contestant }) => contestant).filter(name => !name.includes('/sio')))
  return row?.ratios
    .filter(({ to }) => names.has(to))
    .reduce<Spread | undefined>(
      (worst, each) => (worst !== undefined && worst.median <= each.median ? worst : each),
      undefined,
    )
}

const directions = ['seal', 'open'] as const

/** Node 20 has an OpenSSL that is slower than the rest of the work; with a later one the rest weighs more. */
const shareOfCipher = { node20: 0.75, later: 0.5 } as const

/** Requests a second that are wanted of small objects. */
const smallObjects = [
  ['GET', 5000],
  ['PUT', 2500],
] as const

const all: readonly Goal[] = [
  ...directions.flatMap((direction): Goal[] => {
    const goal = (what: string, contestant: string, to: RegExp, least: NonNullable<Goal['least']>): Goal => ({
      goal: `${direction}, 64 KiB segments, ${what}`,
      ...{ least, unit: ' x' },
      find: rows => ratio(rowOf(rows, { case: 'openssl', direction, contestant }), to),
    })
    const again = /^the cipher alone, memory used again/
    return [
      goal(
        'the engine openssl alone, memory used again, against the cipher alone',
        'the engine alone, openssl',
        again,
        0.9,
      ),
      goal(
        'driver, openssl, memory used again, against the cipher alone',
        'suite 1, openssl, driver',
        again,
        shareOfCipher,
      ),
      goal(
        'generator, openssl, memory used again, against the cipher alone',
        'suite 1, openssl, generator',
        again,
        shareOfCipher,
      ),
      goal(
        'Transform, openssl, against a PassThrough and the cipher',
        'suite 1, openssl, Transform',
        /PassThrough/,
        0.8,
      ),
      goal('Transform, openssl, against one-tag GCM by hand', 'suite 1, openssl, Transform', /GCM, one tag/, 2),
      goal('Transform, node:crypto, against one-tag GCM by hand', 'suite 1, node, Transform', /GCM, one tag/, 1),
      goal('Transform, openssl, against sio in Go', 'suite 1, openssl, Transform', /\/sio/, 0.8),
    ]
  }),
  ...directions.flatMap((direction): Goal[] => {
    const mine = { case: 'rivals', direction, contestant: 'suite 1, openssl, Transform' }
    return [
      {
        goal: `${direction}, openssl, against the fastest rival under Node that checks each segment`,
        ...{ least: 2.5, unit: ' x' },
        find: rows => fastestRival(rows, rowOf(rows, mine)),
      },
      {
        goal: `${direction}, openssl, against the AWS Encryption SDK with 64 KiB frames`,
        ...{ least: 6, unit: ' x' },
        find: rows => ratio(rowOf(rows, mine), /^@aws-crypto.*64 KiB frames/),
      },
    ]
  }),
  ...directions.flatMap(direction =>
    [
      ['driver', 15_000],
      ['generator', 12_000],
      ['Transform', 6000],
    ].map(([adapter, least]): Goal => ({
      goal: `objects of 1 KiB under a bucket key, one thread, ${adapter}, ${direction}`,
      ...{ least: Number(least), unit: ' objects/s' },
      find: rows => rowOf(rows, { case: 'small', group: /, 1 KiB$/, contestant: `${adapter}, bucket key`, direction }),
    })),
  ),
  ...directions.map((direction): Goal => ({
    goal: `objects of 1 KiB under a bucket key, driver, ${direction}, against the calls of the engine alone`,
    unit: ' x',
    find: rows =>
      ratio(rowOf(rows, { case: 'small', group: /, 1 KiB$/, contestant: 'driver, bucket key', direction }), /calls/),
  })),
  ...['one part', '10,000 parts'].flatMap((title): Goal[] => [
    {
      goal: `range of 4 KiB in 1 GiB, ${title}: segments read`,
      ...{ most: 2, unit: '' },
      find: rows => rowOf(rows, { case: 'range', group: new RegExp(`^read .* 1 GiB, ${title}$`) }),
    },
    ...['driver'].map((adapter): Goal => ({
      goal: `range of 4 KiB in 1 GiB, ${title}: beyond the raw read, ${adapter}`,
      ...{ most: 100, unit: ' µs' },
      find: rows =>
        rows.find(
          row =>
            row.case === 'range' &&
            row.group.endsWith(`of 1 GiB, ${title}`) &&
            row.contestant.startsWith(`${adapter}, beyond`),
        ),
    })),
  ]),
  ...smallObjects.flatMap(([method, least]): Goal[] => {
    const mine = { case: 'gateway', group: new RegExp(`^${method}, 64 at once$`), contestant: 'SSE-KMS' }
    const of = `gateway, ${method} of 1 KiB, 64 at once, SSE-KMS`
    return [
      { goal: of, least, unit: ' objects/s', find: rows => rowOf(rows, mine) },
      {
        goal: `${of}, against not encrypted`,
        least: 0.8,
        unit: ' x',
        find: rows => ratio(rowOf(rows, mine), /not encrypted/),
      },
      { goal: `${of}, against node:http alone`, unit: ' x', find: rows => ratio(rowOf(rows, mine), /node:http alone/) },
    ]
  }),
  {
    goal: 'gateway beside radosgw, SSE-KMS in both: the row that is least ahead',
    ...{ least: 1, unit: ' x' },
    find: rows =>
      rows
        .filter(row => row.case === 'radosgw')
        .flatMap(row => row.ratios)
        .reduce<Spread | undefined>(
          (worst, each) => (worst !== undefined && worst.median <= each.median ? worst : each),
          undefined,
        ),
  },
  {
    goal: 'CRC-64/NVME of a body',
    ...{ least: 1000, unit: ' MB/s' },
    find: rows => rowOf(rows, { case: 'checksums', contestant: 'crc64nvme' }),
  },
  ...['PUT', 'GET'].map((method): Goal => ({
    goal: `gateway, ${method} of 64 MiB, SSE-KMS against not encrypted`,
    ...{ least: 0.95, unit: ' x' },
    find: rows =>
      ratio(
        rowOf(rows, { case: 'gateway', group: new RegExp(`^${method}$`), contestant: 'SSE-KMS', size: 64 << 20 }),
        /not encrypted/,
      ),
  })),
  {
    goal: 'gateway, PUT of 64 MiB, SSE-KMS, no checksum of the client',
    ...{ least: 400, unit: ' MB/s' },
    find: rows => rowOf(rows, { case: 'gateway', group: /^PUT$/, contestant: 'SSE-KMS', size: 64 << 20 }),
  },
  {
    goal: 'rewrap of the largest object against that of 1 KiB (time)',
    ...{ most: 1.2, unit: ' x' },
    find: rows => ratio(rowOf(rows, { case: 'copy', group: /^rewrap$/ }), /^rewrap$/),
  },
  ...directions.flatMap((direction): Goal[] => {
    const of = (contestant: string, group: RegExp): Wanted => ({
      ...{ case: 'memory', contestant, group },
      ...(contestant === 'Transform' && { direction }),
    })
    const held = /^1,000 .*filled/
    return [
      {
        goal: `memory of a stream beyond Node's own buffers, ${direction}`,
        ...{ most: 256, unit: ' KiB' },
        find: rows => less(rowOf(rows, of('Transform', held)), rowOf(rows, of('PassThrough', held))),
      },
      {
        goal: `growth of a stream over time, ${direction}`,
        ...{ most: 8, unit: ' KiB' },
        find: rows => rowOf(rows, of('Transform', /^1,000 .*twice/)),
      },
      {
        goal: `delay of the event loop under full load, p99, ${direction}`,
        ...{ most: 5, unit: ' ms' },
        find: rows => rowOf(rows, of('Transform', / 1,000 .*p99$/)),
      },
    ]
  }),
]

/** The goals with what these rows reached on a Node, such as `v20.20.2`. */
export const goals = (rows: readonly Row[], node: string): readonly Reached[] =>
  all.map(({ goal, least, most, unit, find }) => {
    const reached = find(rows)
    const isFloor = least === undefined && most === undefined
    const lowest = typeof least === 'object' ? (node.startsWith('v20.') ? least.node20 : least.later) : least
    const wanted =
      typeof least === 'object'
        ? `>= ${least.node20}${unit}, after Node 20 >= ${least.later}${unit}`
        : least === undefined
          ? `<= ${most ?? 0}${unit}`
          : `>= ${least.toLocaleString('en')}${unit}`
    const isMet = ({ median }: Spread): boolean =>
      (lowest === undefined || median >= lowest) && (most === undefined || median <= most)
    const met = isFloor || reached === undefined ? undefined : isMet(reached)
    return { goal, wanted: isFloor ? 'distance to the floor' : wanted, reached, unit, met, isFloor }
  })
