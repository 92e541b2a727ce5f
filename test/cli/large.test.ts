// `sse-kms encrypt | sse-kms decrypt` of 2 GiB: the output is the input, and neither process ever holds 150 MiB.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cli, ended, shell, startingText } from '../support/cli.ts'

const size = 2 * 1024 ** 3
const limitKiB = 150 * 1024

/** Writes `size` pseudo-random bytes to stdout, then their hash to stderr. */
const source = `
  const { createCipheriv, createHash } = require('node:crypto')
  const { once } = require('node:events')
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16))
  const hash = createHash('sha256')
  const zeros = Buffer.alloc(1024 * 1024)
  const main = async () => {
    for (let left = ${size}; left > 0; left -= zeros.length) {
      const block = cipher.update(zeros)
      hash.update(block)
      if (!process.stdout.write(block)) await once(process.stdout, 'drain')
    }
    console.error(hash.digest('hex'))
  }
  main()`

/** Counts and hashes stdin. */
const sink = `
  const hash = require('node:crypto').createHash('sha256')
  let count = 0
  process.stdin.on('data', chunk => { count += chunk.length; hash.update(chunk) })
  process.stdin.on('end', () => console.log(count + ' ' + hash.digest('hex')))`

/** The most memory that the process of a file with a pid has held so far, in KiB; 0 before and after its life. */
const peak = (pidFile: string): number => {
  if (!existsSync(pidFile)) return 0
  const status = `/proc/${readFileSync(pidFile, 'utf8').trim()}/status`
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(status, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

t.test('2 GiB through a pipe in constant memory', { timeout: 280_000 }, async t => {
  const folder = t.testdir({ 'source.cjs': source, 'sink.cjs': sink })
  t.equal((await cli(['keys', 'create', '--keyring', join(folder, 'keys')])).code, 0)
  const program = startingText()
  const script = `
    unset NODE_OPTIONS
    '${process.execPath}' source.cjs 2> sent |
      (echo $BASHPID > encrypt.pid; exec ${program} encrypt --keyring keys) |
      (echo $BASHPID > decrypt.pid; exec ${program} decrypt --keyring keys) |
      '${process.execPath}' sink.cjs`
  const peaks = { encrypt: 0, decrypt: 0 }
  const watch = setInterval(() => {
    peaks.encrypt = Math.max(peaks.encrypt, peak(join(folder, 'encrypt.pid')))
    peaks.decrypt = Math.max(peaks.decrypt, peak(join(folder, 'decrypt.pid')))
  }, 50)
  const { code, stdout, stderr } = await ended(shell(script, folder))
  clearInterval(watch)
  t.strictSame([code, stderr], [0, ''])
  t.equal(stdout.toString(), `${size} ${readFileSync(join(folder, 'sent'), 'utf8')}`)
  t.comment(`resident at most: encrypt ${peaks.encrypt} KiB, decrypt ${peaks.decrypt} KiB`)
  for (const kib of Object.values(peaks)) {
    t.ok(kib > 10_000, 'it was measured')
    t.ok(kib < limitKiB, `${kib} KiB`)
  }
})
