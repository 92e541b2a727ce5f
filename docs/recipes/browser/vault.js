import { createSse, customerKey, nobleEngine } from 'sse-kms-streams/web'

/** Seals a file under a key of 32 bytes that stays in the browser, and uploads it. */
export const upload = async (/** @type {Uint8Array} */ key, /** @type {string} */ url, /** @type {Blob} */ file) => {
  const sse = createSse({ kms: customerKey(nobleEngine, key), accept: [''] })
  const put = await sse.encrypt({ file: true, length: file.size })
  // As a Blob: fetch takes a stream as a body over HTTP/2 alone, and not in every browser.
  const body = await new Response(file.stream().pipeThrough(put.web())).blob()
  const { ok, status } = await fetch(url, { method: 'PUT', body })
  if (!ok) throw new Error(`the upload was answered ${status}`)
}

/** Downloads a file and opens it while it comes. What was taken counts only once the end has come without an error. */
export const download = async (
  /** @type {Uint8Array} */ key,
  /** @type {string} */ url,
  /** @type {(bytes: Uint8Array) => void} */ take,
) => {
  const sse = createSse({ kms: customerKey(nobleEngine, key), accept: [''] })
  const { ok, status, body } = await fetch(url)
  if (!ok || !body) throw new Error(`the download was answered ${status}`)
  const get = await sse.decryptPipe()
  // With a reader: `new Response(stream)` would hide the error's code behind a TypeError.
  const reader = body.pipeThrough(get.web()).getReader()
  for (let next = await reader.read(); !next.done; next = await reader.read()) take(next.value)
}
