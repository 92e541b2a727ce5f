/** A program that serves: started as its readers start it, and ended. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout } from 'node:timers/promises'

/** A server that listens. */
export interface Serving {
  /** Such as `http://127.0.0.1:4711`. */
  readonly origin: string
  readonly pid: number
  /** Everything that it writes. */
  readonly data: string
  /** What it said up to now, on stdout and stderr. */
  said(): string
  /** Ends it. */
  stop(): Promise<void>
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (typeof address !== 'object' || address === null) throw new Error('no port is free')
  return address.port
}

const answers = async (port: number): Promise<boolean> => {
  const socket = connect(port, '127.0.0.1')
  const found = await Promise.race([
    once(socket, 'connect').then(() => true),
    once(socket, 'error').then(
      () => false,
      () => false,
    ),
  ]).catch(() => false)
  socket.destroy()
  return found
}

/** Starts `node server.js` in a folder, with `DATA` and `PORT`; rejects where it does not listen within 20 seconds. */
export const startServer = async (folder: string, data: string): Promise<Serving> => {
  const port = await freePort()
  mkdirSync(data, { recursive: true })
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, ['server.js'], {
    cwd: folder,
    env: { PATH, HOME, DATA: data, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += String(chunk)))
  const closed = once(child, 'close')
  const stop = async (): Promise<void> => {
    child.kill()
    await closed
  }
  const deadline = Date.now() + 20_000
  while (!(await answers(port))) {
    if (child.exitCode === null && Date.now() < deadline) await setTimeout(25)
    else {
      await stop()
      throw new Error(`server.js does not listen on PORT (exit status ${child.exitCode}):\n${said}`)
    }
  }
  return { origin: `http://127.0.0.1:${port}`, pid: child.pid ?? 0, data, said: () => said, stop }
}
