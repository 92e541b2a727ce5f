import { fork } from 'node:child_process'
import { once } from 'node:events'
import { sse } from './keys.js'

/** Seals files as the parts of one object, each in a process of its own. The object is its envelope and the sealed files, in their order. */
export const upload = async (/** @type {string[]} */ files, context = {}) => {
  const upload = await sse.createUpload({ context }) // its keys are wrapped: it may be stored, and sent to other machines
  const sealed = files.map(async (file, i) => {
    const process = fork(new URL('part.js', import.meta.url), { serialization: 'advanced' })
    process.send({ upload, part: i + 1, file, context })
    const [answer] = await Promise.race([once(process, 'message'), once(process, 'exit')])
    if (typeof answer !== 'object') throw new Error(`part ${i + 1}: its process ended with ${answer}`)
    return answer
  })
  const parts = await Promise.all(sealed)
  const receipts = parts.map(({ receipt }) => receipt)
  return sse.completeUpload(upload, parts, receipts, { context })
}
