/** A TCP proxy before an HTTP server, which does to requests and answers what networks do. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** Bytes that are about to pass. */
export interface Passing {
  /** Method and target of the request that they belong to. */
  readonly request: string
  readonly direction: 'up' | 'down'
  /** Bytes of the request, or of its answer, that have passed before. */
  readonly before: number
  readonly chunk: Buffer
}

/**
 * What happens to them: they pass, or others do; the connection is cut after them or instead; nothing of this connection passes any more; or the
 * proxy answers in the server's place.
 */
export type Fault = (passing: Passing) => 'pass' | 'cut' | 'hang' | { readonly answer: string } | Uint8Array

/** A proxy that runs. */
export interface TcpProxy {
  readonly url: string
  /** Method and target of all requests so far. */
  readonly requests: string[]
  /** What happens from now on. */
  fault: Fault
}

/** What a storage answers that is overloaded. */
export const slowDown = {
  answer:
    'HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\nconnection: close\r\ncontent-length: 93\r\n\r\n' +
    '<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>      ',
}

/** Starts one before `url`; the test's end stops it. */
export const startProxy = async (t: Test, url: string): Promise<TcpProxy> => {
  const { hostname, port } = new URL(url)
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: false }, client => {
    const upstream = connect(Number(port), hostname)
    let request = ''
    const before = { up: 0, down: 0 }
    let isOver = false
    const cut = (): void => {
      isOver = true
      client.resetAndDestroy()
      upstream.resetAndDestroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    }
    const pass = (direction: 'up' | 'down', to: Socket, chunk: Buffer): void => {
      if (isOver) return
      const [, line] = (direction === 'up' && /^([A-Z]+ \S+) HTTP\/1\.1\r\n/.exec(chunk.toString('latin1'))) || []
      if (line !== undefined) {
        request = line
        before.up = before.down = 0
        proxy.requests.push(line)
      }
      const what = proxy.fault({ request, direction, before: before[direction], chunk })
      before[direction] += chunk.length
      if (what === 'cut') cut()
      else if (what === 'hang') isOver = true
      else if (typeof what === 'object' && 'answer' in what) {
        isOver = true
        client.end(what.answer)
        upstream.destroy()
      } else if (!to.write(what === 'pass' ? chunk : what)) {
        const from = to === client ? upstream : client
        from.pause()
        to.once('drain', () => from.resume())
      }
    }
    client.on('data', (chunk: Buffer) => pass('up', upstream, chunk))
    upstream.on('data', (chunk: Buffer) => pass('down', client, chunk))
    client.on('close', () => isOver || upstream.destroy())
    upstream.on('close', () => isOver || client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const proxy: TcpProxy = {
    url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    requests: [],
    fault: () => 'pass',
  }
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
  })
  return proxy
}
