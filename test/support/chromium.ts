/** Pages in Debian's Chromium, over its pipe: no network, no further package. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'

const program = '/usr/bin/chromium'
export const noChromium: string | false = existsSync(program) ? false : `${program} is missing`

/** How a page is shown. */
export interface View {
  readonly width: number
  readonly height?: number
  readonly scheme?: 'light' | 'dark'
}

type Send = (method: string, params?: object, sessionId?: string) => Promise<Record<string, unknown>>

/** A browser with one page at a time. */
export interface Browser {
  /** Opens an address. It answers once the page has loaded. */
  show(url: string, view: View): Promise<void>
  /** The value of an expression in the page, as JSON carries it. */
  evaluate(expression: string): Promise<unknown>
  /** A PNG of what is seen. */
  picture(): Promise<Buffer>
  close(): Promise<void>
}

const flags = ['headless', 'no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run', 'disable-sync']
flags.push('disable-background-networking', 'disable-component-update', 'hide-scrollbars', 'remote-debugging-pipe')

/** Its protocol: JSON, each message ended by a zero byte, on the descriptors 3 and 4. */
const speak = (input: Duplex, output: Duplex): Send => {
  const waiting = new Map<number, Waiting>()
  let rest = ''
  output.setEncoding('utf8').on('data', (chunk: string) => {
    const messages = (rest + chunk).split('\0')
    rest = messages.pop() ?? ''
    for (const message of messages) {
      const { id, result, error } = JSON.parse(message)
      if (error) waiting.get(id)?.reject(new Error(error.message))
      else waiting.get(id)?.resolve(result)
      waiting.delete(id)
    }
  })
  let count = 0
  return (method, params = {}, sessionId) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, { resolve, reject })
      input.write(`${JSON.stringify({ id: count, method, params, sessionId })}\0`)
    })
}

/** What a call is answered with. */
interface Waiting {
  readonly resolve: (value: Record<string, unknown>) => void
  readonly reject: (error: Error) => void
}

export const openBrowser = async (): Promise<Browser> => {
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'))
  const args = [...flags.map(flag => `--${flag}`), `--user-data-dir=${profile}`]
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] })
  const [, , , input, output] = child.stdio
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- pipes of `spawn` are duplex
  const send = speak(input as Duplex, output as Duplex)
  const { targetId } = await send('Target.createTarget', { url: 'about:blank' })
  const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true })
  const page: Send = (method, params) => send(method, params, String(sessionId))
  const evaluate = async (expression: string): Promise<unknown> => {
    const answer = await page('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    const { result, exceptionDetails }: { result?: { value?: unknown }; exceptionDetails?: object } = answer
    if (exceptionDetails) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`)
    return result?.value
  }
  return {
    evaluate,
    show: async (url, { width, height = 1000, scheme = 'light' }) => {
      const size = { width, height, deviceScaleFactor: 1, mobile: width < 700 }
      await page('Emulation.setDeviceMetricsOverride', size)
      await page('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] })
      await page('Page.navigate', { url })
      const loaded = `document.readyState === 'complete' && location.href === ${JSON.stringify(url)}`
      while ((await evaluate(loaded)) !== true) await new Promise(resolve => setTimeout(resolve, 20))
      await evaluate('new Promise(resolve => setTimeout(resolve, 300))') // until its scripts have run
    },
    picture: async () => Buffer.from(String((await page('Page.captureScreenshot'))['data']), 'base64'),
    close: async () => {
      const ended = once(child, 'close')
      await send('Browser.close') // its children end before it
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
    },
  }
}
