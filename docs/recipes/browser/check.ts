/** In Chromium: the module seals, uploads, downloads and opens; a changed and a cut file are refused with their code. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { build } from 'esbuild'

const chromium = '/usr/bin/chromium'
if (!existsSync(chromium)) {
  console.log(`skip there is no ${chromium}: apt-get install chromium`)
  process.exit()
}
const data = process.env['DATA'] ?? ''
await build({
  entryPoints: ['vault.js'],
  bundle: true,
  format: 'esm',
  outfile: join(data, 'vault.bundle.js'),
  logLevel: 'error',
})

/** The script of a page: seals, uploads, downloads and opens, and sends what came of it. */
const test = `
  import { download, upload } from './vault.bundle.js'
  const key = crypto.getRandomValues(new Uint8Array(32))
  const plain = crypto.getRandomValues(new Uint8Array(60_000))
  const text = async bytes => [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))].join()
  const opened = async (url, secret = key) => {
    const pieces = []
    try {
      await download(secret, url, bytes => pieces.push(bytes))
    } catch (error) {
      return \`\${error.code} after \${new Blob(pieces).size} bytes\`
    }
    return (await text(await new Blob(pieces).arrayBuffer())) === (await text(plain)) ? 'the same' : 'other bytes'
  }
  try {
    await upload(key, '/files/a', new Blob([plain]))
    const other = crypto.getRandomValues(new Uint8Array(32))
    const results = [await opened('/files/a'), await opened('/changed'), await opened('/cut'), await opened('/files/a', other)]
    await fetch('/result', { method: 'POST', body: JSON.stringify(results) })
  } catch (error) {
    await fetch('/result', { method: 'POST', body: JSON.stringify([String(error)]) })
  }`

let stored = Buffer.alloc(0)
const changed = () => stored.map((byte, i) => (i === stored.length - 1 ? byte ^ 1 : byte))
const answers: Readonly<Record<string, () => Promise<readonly [string, Uint8Array]>>> = {
  '/test': async () => ['text/html', Buffer.from(`<script type="module">${test}</script>`)],
  '/vault.bundle.js': async () => ['text/javascript', await readFile(join(data, 'vault.bundle.js'))],
  '/files/a': async () => ['application/octet-stream', stored],
  '/changed': async () => ['application/octet-stream', changed()],
  '/cut': async () => ['application/octet-stream', stored.subarray(0, -1)],
}
const results = await new Promise<readonly string[]>((resolve, reject) => {
  const take = async (req: IncomingMessage) => {
    const body = await buffer(req)
    if (req.url === '/result') resolve(JSON.parse(body.toString()))
    else stored = body
  }
  const server = createServer(async (req, res) => {
    if (req.method !== 'GET') return void res.writeHead(await take(req).then(() => 204)).end()
    const answer = await answers[req.url ?? '']?.()
    if (answer === undefined) return void res.writeHead(404).end()
    res.writeHead(200, { 'content-type': answer[0] }).end(answer[1])
  }).listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo
    const quiet = [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
    ]
    const less = ['--disable-component-update', '--disable-sync', `--user-data-dir=${join(data, 'profile')}`]
    const browser = spawn(chromium, [...quiet, ...less, '--remote-debugging-port=0', `http://127.0.0.1:${port}/test`], {
      stdio: 'ignore',
    })
    browser.once('exit', code => reject(new Error(`the browser ended with ${code}`)))
    setTimeout(() => reject(new Error('the page gave no result in 50 s')), 50_000).unref()
    process.once('exit', () => browser.kill('SIGKILL'))
  })
})
assert.deepEqual(results, [
  'the same',
  'NotAuthentic after 0 bytes',
  'NotAuthentic after 0 bytes',
  'WrongCustomerKey after 0 bytes',
])
assert.ok(stored.length > 60_000)
console.log('ok a file is sealed, uploaded, downloaded and opened in the page')
console.log('ok a changed byte, a cut file and another key are refused, by the code of the error')
process.exit()
