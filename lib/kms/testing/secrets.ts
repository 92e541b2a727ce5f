/** Cases of the conformance suite: nothing of keys and secrets is shown. */
import { inspect } from 'node:util'
import { base64, hex, utf8 } from '../../bytes.ts'
import type { DataKey } from '../data-key.ts'
import { answerOf, context, dataPath, during, fail, otherContexts, withKey, wrap } from './expect.ts'
import type { ConformanceCase, ConformanceSetup } from './setup.ts'

/** The ways in which bytes are shown. */
const spellingsOf = (bytes: Uint8Array): readonly string[] => {
  const shown = hex(bytes)
  return [
    shown,
    shown.toUpperCase(),
    shown.replaceAll(/(..)(?=.)/g, '$1 '), // <Buffer 01 02 …>
    base64(bytes).slice(0, 42), // its last digits depend on what follows
    bytes.join(', '), // Uint8Array(32) [ 1, 2, … ]
    bytes.join(','), // JSON
    Array.from(bytes.entries(), ([i, byte]) => `"${i}":${byte}`).join(','), // JSON of a Uint8Array
  ]
}

/** All that a value shows of itself. */
const shown = (value: unknown): string => {
  const depth = {
    depth: 12,
    showHidden: true,
    getters: false,
    maxArrayLength: null,
    maxStringLength: null,
    breakLength: Infinity,
  }
  const texts = [inspect(value, depth), inspect(value), String(value)]
  try {
    texts.push(JSON.stringify(value) ?? '')
  } catch {
    // It has no JSON.
  }
  if (value instanceof Error) {
    texts.push(value.message, value.stack ?? '')
    if (value.cause !== undefined) texts.push(shown(value.cause))
  }
  return texts.join('\n').replaceAll(/\s+/g, ' ')
}

/** What is written to stdout and stderr meanwhile, which reaches them too. */
const written = async (run: () => Promise<void>): Promise<string> => {
  const texts: string[] = []
  const restore = [process.stdout, process.stderr].map(stream => {
    const { write } = stream
    const watched: typeof write = (chunk: Uint8Array | string, ...rest: readonly unknown[]): boolean => {
      texts.push(typeof chunk === 'string' ? chunk : new TextDecoder('latin1').decode(chunk))
      return Reflect.apply(write, stream, [chunk, ...rest]) === true
    }
    stream.write = watched
    return () => {
      stream.write = write
    }
  })
  try {
    await run()
  } finally {
    for (const each of restore) each()
  }
  return texts.join('')
}

/** Calls that fail in as many ways as can be had, and what they reject with. */
const failures = async (setup: ConformanceSetup, key: DataKey): Promise<readonly unknown[]> => {
  const { kms, keyId, missing } = setup
  const errors: unknown[] = []
  const collect = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      errors.push(error)
    }
  }
  const wrapped = await wrap(kms, key, { keyId, context })
  const [[, other] = ['', context]] = otherContexts
  const broken = { ...wrapped, blob: wrapped.blob.map(byte => byte ^ 1) }
  for (const id of [missing ?? `${keyId}-other`, `${keyId} `, '']) {
    await collect(() => kms.wrapDataKey(key, { keyId: id, context }))
    await collect(() => kms.unwrapDataKey({ wrapped: { ...wrapped, keyId: id }, context }))
    await collect(() => kms.describe(id))
  }
  await collect(() => kms.unwrapDataKey({ wrapped: broken, context }))
  await collect(() => kms.unwrapDataKey({ wrapped, context: other }))
  await collect(() => kms.rewrapDataKey({ from: { wrapped: broken, context }, to: { keyId, context } }))
  await collect(() => kms.wrapDataKey(key, { keyId, context }, { signal: AbortSignal.abort() }))
  for (const name of ['unavailable', 'throttled'] as const) {
    const fault = setup[name]
    if (fault === undefined) continue
    await during(name, fault, async () => {
      await collect(() => kms.wrapDataKey(key, { keyId, context }))
      for (const [, run] of dataPath(kms, { target: { keyId, context }, from: { wrapped, context } }))
        await collect(run)
    })
  }
  return errors
}

const nothingShown: ConformanceCase = {
  name: 'nothing secret is shown',
  about:
    'No key and no secret is in an error, its cause, a log, JSON or an inspection of the key manager and its answers.',
  run: setup =>
    withKey(async key => {
      const { kms, keyId, secrets = [] } = setup
      const hidden = [
        ...spellingsOf(key.bytes).map(text => ['a data key', text] as const),
        ...secrets.flatMap(secret =>
          [secret, hex(utf8(secret)), base64(utf8(secret))].map(text => ['a secret', text] as const),
        ),
      ]
      const look = (where: string, text: string): void => {
        for (const [what, spelling] of hidden) if (text.includes(spelling)) fail(`${where} shows ${what}.`)
      }
      const logged = await written(async () => {
        const errors = await failures(setup, key)
        if (errors.length === 0) fail('No call fails that has to.')
        for (const error of errors) look('An error', shown(error))
        const wrapped = await wrap(kms, key, { keyId, context })
        look('A wrapped key', shown(wrapped))
        const unwrapped = await answerOf('unwrapDataKey', () => kms.unwrapDataKey({ wrapped, context }))
        look('The key that unwrapDataKey answers', shown(unwrapped))
        unwrapped.dispose()
        look('The description of a key', shown(await answerOf('describe', () => kms.describe(keyId))))
      })
      look('A log', logged)
      look('The key manager', shown(kms))
      return undefined
    }),
}

/** Nothing of keys and secrets is shown. */
export const secrecy: readonly ConformanceCase[] = [nothingShown]
