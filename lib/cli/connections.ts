/** The connections of a server: how many there may be, how long they may be idle, and how they end. Knows no request but that it is under way. */
import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Limits of connections. */
export interface ConnectionLimits {
  /** Open ones. */
  readonly connections: number
  /** Open ones of one address; of IPv6, of one /64. */
  readonly connectionsPerAddress: number
}

/** The connections of a server. */
export interface Connections {
  /** Stops listening. Connections without a request are closed at once, the others when their requests end, or after so many milliseconds. */
  close(grace: number): Promise<void>
}

/** What connections are counted by: an IPv4 address, or the network of an IPv6 address, since whoever has one has all of it. */
export const networkOf = (address: string): string => {
  if (!address.includes(':') || address.includes('.')) return address
  const [front = '', back] = address.split('::')
  const groups = front === '' ? [] : front.split(':')
  if (back !== undefined) {
    const rest = back === '' ? 0 : back.split(':').length
    while (groups.length + rest < 8) groups.push('0')
  }
  return groups.slice(0, 4).join(':')
}

/** The same of a TLS connection and the TCP connection under it. */
const nameOf = ({ remoteAddress = '', remotePort = 0 }: Socket): string => `${remoteAddress} ${remotePort}`

const warnEvery = 60_000

/** Warns of connections that were refused, and does not repeat itself within a minute. */
const warner = (): ((message: string) => void) => {
  let last = -Infinity
  return message => {
    if (performance.now() - last < warnEvery) return
    last = performance.now()
    process.emitWarning(message)
  }
}

/** Holds the connections of a server that does not listen yet to limits. */
export const holdConnections = (
  server: Server,
  { connections, connectionsPerAddress }: ConnectionLimits,
): Connections => {
  /** TCP connections and their names. */
  const open = new Map<Socket, string>()
  const ofNetwork = new Map<string, number>()
  /** How many requests are under way, by the name of their connection. */
  const busy = new Map<string, number>()
  let stopping = false
  const warn = warner()

  server.maxConnections = connections
  server.on('drop', () => warn(`connections are refused, since ${connections} are open (limits.connections)`))
  server.on('connection', (socket: Socket) => {
    const network = networkOf(socket.remoteAddress ?? '')
    const count = ofNetwork.get(network) ?? 0
    if (count >= connectionsPerAddress) {
      warn(`connections of ${network} are refused, since ${count} are open (limits.connectionsPerAddress)`)
      socket.destroy()
      return
    }
    ofNetwork.set(network, count + 1)
    const name = nameOf(socket)
    open.set(socket, name)
    socket.once('close', () => {
      open.delete(socket)
      busy.delete(name)
      const left = (ofNetwork.get(network) ?? 1) - 1
      if (left > 0) ofNetwork.set(network, left)
      else ofNetwork.delete(network)
    })
  })

  const onRequest = ({ socket }: IncomingMessage, res: ServerResponse): void => {
    const name = nameOf(socket)
    busy.set(name, (busy.get(name) ?? 0) + 1)
    if (stopping) res.setHeader('connection', 'close')
    res.once('close', () => {
      const left = (busy.get(name) ?? 1) - 1
      if (left > 0) busy.set(name, left)
      else {
        busy.delete(name)
        if (stopping) socket.end()
      }
    })
  }
  server.prependListener('request', onRequest).prependListener('checkContinue', onRequest)

  const close = async (grace: number): Promise<void> => {
    stopping = true
    const closed = once(server, 'close')
    server.close()
    const destroy = (which: (name: string) => boolean): void => {
      for (const [socket, name] of open) if (which(name)) socket.destroy()
    }
    destroy(name => !busy.has(name))
    const timer = setTimeout(() => destroy(() => true), grace)
    await closed
    clearTimeout(timer)
  }
  return { close }
}
