/**
 * What each runtime does in `npm run runtimes`: writes a self-describing file of each suite, or opens those of all. Files and answers go over
 * HTTP, so that a browser takes the same course. Plain JavaScript, which every runtime reads.
 */

const suites = [1, 3] // AES-256-GCM; ChaCha20-Poly1305, which WebCrypto lacks
/** More than three segments. */
const plaintext = Uint8Array.from({ length: 200_001 }, (_, i) => i % 251)

const isPlaintext = bytes => bytes.length === plaintext.length && bytes.every((byte, i) => byte === plaintext[i])

const post = async (url, body) => {
  const answer = await fetch(url, { method: 'POST', body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${await answer.text()}`)
  return answer.json()
}

/** A key manager that is a service: the keys of the key store, for a runtime that cannot read its folder. */
export const remoteKeys = ({ DataKey }, base) => {
  const bytes = list => Uint8Array.from(list)
  return {
    name: 'local',
    bindsContext: true,
    generateDataKey: async ({ keyId, context }) => {
      const { key, blob } = await post(`${base}/generate`, { keyId, context: Object.fromEntries(context.entries) })
      return { key: new DataKey(bytes(key)), wrapped: { provider: 'local', keyId, wrapAlg: 2, blob: bytes(blob) } }
    },
    unwrapDataKey: async ({ wrapped, context }) => {
      const { keyId, blob } = wrapped
      return new DataKey(
        bytes(await post(`${base}/unwrap`, { keyId, blob: [...blob], context: Object.fromEntries(context.entries) })),
      )
    },
    wrapDataKey: () => Promise.reject(new Error('this key manager makes its keys')),
    rewrapDataKey: () => Promise.reject(new Error('this key manager moves no keys')),
  }
}

const write = async (createSse, kms, { base, name, keyId }) => {
  for (const suite of suites) {
    const sse = createSse({ kms, accept: [keyId], suite })
    const file = `${name}, suite ${suite}`
    const body = await sse.encryptBytes(plaintext, { context: { file } })
    const answer = await fetch(`${base}/files/${encodeURIComponent(file)}`, { method: 'PUT', body })
    if (!answer.ok) throw new Error(`${file} was not stored`)
  }
}

const open = async (createSse, kms, { base, keyId }) => {
  const sse = createSse({ kms, accept: [keyId] })
  const wrong = {}
  const files = await (await fetch(`${base}/files`)).json()
  for (const file of files) {
    try {
      const stored = new Uint8Array(await (await fetch(`${base}/files/${encodeURIComponent(file)}`)).arrayBuffer())
      if (!isPlaintext(await sse.decryptBytes(stored, { context: { file } }))) wrong[file] = 'other bytes'
      const forged = stored.slice()
      forged[forged.length - 1] ^= 1
      const code = await sse.decryptBytes(forged, { context: { file } }).then(
        () => 'opened',
        error => error.code,
      )
      if (code !== 'NotAuthentic') wrong[file] = `with one bit changed: ${code}`
    } catch (error) {
      wrong[file] = String(error)
    }
  }
  return { opened: files.length - Object.keys(wrong).length, files: files.length, wrong }
}

/** Takes the course in this runtime, and tells the command how it went. */
export const take = async (createSse, kms, task) => {
  let report
  try {
    report = task.phase === 'write' ? await write(createSse, kms, task) : await open(createSse, kms, task)
  } catch (error) {
    report = { failed: `${error}${error?.cause ? ` (${error.cause})` : ''}` }
  }
  await post(`${task.base}/report`, { name: task.name, ...report })
}
