import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { kms, sse } from './keys.js'

// One part, in a process of its own: it gets the upload and a file, and answers the receipt of the sealed one.
process.once('message', async (/** @type {any} */ { upload, part, file, context }) => {
  const sealing = await sse.encryptPart(upload, part, { context })
  await pipeline(createReadStream(file), sealing.stream, createWriteStream(`${file}.sealed`, { flush: true }))
  const { etag, receipt } = sealing.result()
  process.send?.({ part, etag, receipt })
  kms.close()
})
