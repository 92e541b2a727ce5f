import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import chain, { none } from 'stream-chain'
import { stringer as lines } from 'stream-chain/jsonl/stringer.js'
import { parser as csv } from 'stream-csv-as-json/parser.js'
import { asObjects } from 'stream-csv-as-json/as-objects.js'
import { streamValues } from 'stream-json/streamers/stream-values.js'

/** Writes the rows of a CSV file that are wanted to a sealed file of JSON lines. Only what is sealed touches the disk. */
export const sealRows = async (
  /** @type {import('sse-kms-streams').Sse} */ sse,
  /** @type {string} */ from,
  /** @type {string} */ to,
  /** @type {(row: any) => boolean} */ wanted,
) => {
  const put = await sse.encrypt({ file: true })
  const rows = chain([
    ...[csv(), asObjects(), streamValues()],
    (/** @type {any} */ { value }) => (wanted(value) ? value : none),
    ...[lines(), put.stage()], // a function among others: they run as one stream
  ])
  await pipeline(createReadStream(from), rows, createWriteStream(to, { flags: 'wx', flush: true })) // keys are wiped however it ends
}

/** Reads the rows again, one by one. Every row is authentic; that none is missing is known at the end. */
export const openRows = async (
  /** @type {import('sse-kms-streams').Sse} */ sse,
  /** @type {string} */ file,
  /** @type {(row: any) => void} */ take,
) => {
  const get = await sse.decryptPipe()
  await pipeline(
    createReadStream(file),
    chain([get.stage(), streamValues.withParser(), (/** @type {any} */ { value }) => value]),
    async (/** @type {AsyncIterable<unknown>} */ rows) => {
      for await (const row of rows) take(row)
    },
  )
}
