/**
 * What stands between a client and PyKMIP, over TLS on both sides: it passes requests on, swallows them, refuses them, or changes the answers. A
 * server that is gone is gone for the client too: its connection is reset.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect, createSecureContext, TLSSocket } from 'node:tls'
import { type Operation, operations, tags, values } from '../../lib/kms/kmip/tags.ts'
import {
  encodeItem,
  enumeration,
  headSize,
  integer,
  type Item,
  itemOf,
  parseItem,
  readHead,
  structure,
  text,
} from '../../lib/kms/kmip/ttlv.ts'
import { reasons } from '../../lib/kms/kmip/failure.ts'
import type { KmipOptions } from '../../lib/kms/kmip/kmip.ts'
import type { KmipServer } from './kmip.ts'

/**
 * What goes wrong. `swallow`: no answer ever comes. `stall`: half of an answer comes. `cut`: the connection ends in the middle of one.
 * `throttle`: the server says that its limit is exceeded. `wrong id`: an answer names another key. `wrong blob`: a ciphertext is that of another
 * data key. `wrong key`: a plaintext is another data key of the right length. `garbage`: bytes that are no answer.
 */
export const proxyFaults = [
  'swallow',
  'stall',
  'cut',
  'throttle',
  'wrong id',
  'wrong blob',
  'wrong key',
  'garbage',
] as const
/** One of {@link proxyFaults}. */
export type ProxyFault = (typeof proxyFaults)[number]

/** A proxy that runs. Its field may be changed while it does. */
export interface KmipProxy {
  /** What goes wrong with a request of this operation now, if anything. */
  fault: (operation: Operation | undefined) => ProxyFault | undefined
  /** Options that lead here. */
  readonly options: KmipOptions
  /** Requests that came. */
  readonly requests: Readonly<Record<string, number>>
  /** Ends all connections. */
  stop(): Promise<void>
}

/** Cuts a stream of bytes into messages. */
const messagesOf = (take: (message: Uint8Array) => void): ((chunk: Uint8Array) => void) => {
  let held = Buffer.alloc(0)
  return chunk => {
    held = Buffer.concat([held, chunk])
    while (held.length >= headSize) {
      const size = headSize + readHead(held).size
      if (held.length < size) return
      take(Uint8Array.from(held.subarray(0, size)))
      held = held.subarray(size)
    }
  }
}

const itemsIn = (items: readonly Item[], tag: number): readonly Item[] => itemOf(items, tag, 'structure') ?? []
const batchOf = (message: Uint8Array): readonly Item[] => {
  const parsed = parseItem(message)
  return parsed.type === 'structure' ? itemsIn(parsed.value, tags.batchItem) : []
}

const names: readonly Operation[] = [
  ...(['Create', 'Locate', 'Get Attributes', 'Activate', 'Revoke', 'Destroy', 'Encrypt', 'Decrypt'] as const),
]
const operationOf = (request: Uint8Array): Operation | undefined => {
  const asked = itemOf(batchOf(request), tags.operation, 'enumeration')
  return names.find(name => operations[name] === asked)
}

const refusal = (operation: Operation | undefined, version: readonly [number, number]): Uint8Array => {
  const [major, minor] = version
  const header = structure(
    tags.responseHeader,
    structure(tags.protocolVersion, integer(tags.major, major), integer(tags.minor, minor)),
    integer(tags.batchCount, 1),
  )
  const item = structure(
    tags.batchItem,
    ...(operation === undefined ? [] : [enumeration(tags.operation, operations[operation])]),
    enumeration(tags.resultStatus, values.failed),
    enumeration(tags.resultReason, reasons.serverLimitExceeded),
    text(tags.resultMessage, 'too many requests'),
  )
  return encodeItem(structure(tags.responseMessage, header, item))
}

/** Byte strings that are read are views of the message, so what is changed in them is changed in it. */
const flip = (bytes: Uint8Array | undefined): void => {
  if (bytes !== undefined && bytes.length > 0) bytes.set([(bytes[0] ?? 0) ^ 1])
}

/** The message with another digit at the end of its unique identifier, there and where it is told as an attribute. */
const renamed = (message: Uint8Array): Uint8Array => {
  const bytes = Buffer.from(message)
  const textAt = (at: number) => bytes.subarray(at + headSize, at + headSize + readHead(bytes, at).size)
  const headOf = (tag: number) => Buffer.from([tag >> 16, (tag >> 8) & 255, tag & 255, 7])
  const first = bytes.indexOf(headOf(tags.uniqueIdentifier))
  if (first < 0) return message
  const uid = Buffer.from(textAt(first))
  for (const tag of [tags.uniqueIdentifier, tags.attributeValue]) {
    for (let at = bytes.indexOf(headOf(tag)); at >= 0; at = bytes.indexOf(headOf(tag), at + 1)) {
      const found = textAt(at)
      if (found.equals(uid)) found.set([found.at(-1) === 0x31 ? 0x32 : 0x31], found.length - 1)
    }
  }
  return new Uint8Array(bytes)
}

const lie = (fault: ProxyFault, operation: Operation | undefined, answer: Uint8Array): Uint8Array => {
  const payload = itemsIn(batchOf(answer), tags.responsePayload)
  if (fault === 'wrong id') return renamed(answer)
  if (fault === 'wrong blob' && operation === 'Encrypt') flip(itemOf(payload, tags.data, 'bytes'))
  if (fault === 'wrong key' && operation === 'Decrypt') flip(itemOf(payload, tags.data, 'bytes'))
  return answer
}

/** Starts a proxy in front of a server. */
export const startKmipProxy = async (server: KmipServer): Promise<KmipProxy> => {
  const pem = (name: string) => readFileSync(join(server.folder, name))
  const ca = pem('ca.pem')
  const here = createSecureContext({ ca, cert: pem('server.pem'), key: pem('server.key'), minVersion: 'TLSv1.2' })
  const there = createSecureContext({ ca, cert: pem('gateway.pem'), key: pem('gateway.key') })
  const sockets = new Set<Socket>()
  const requests: Record<string, number> = {}
  const proxy: Pick<KmipProxy, 'fault'> = { fault: () => undefined }

  const serve = (raw: Socket): void => {
    const onward = connect({ host: '127.0.0.1', port: server.port, secureContext: there })
    for (const socket of [raw, onward]) {
      sockets.add(socket)
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    }
    raw.on('close', () => onward.destroy())
    onward.on('close', () => raw.resetAndDestroy())
    onward.once('secureConnect', () => {
      const client = new TLSSocket(raw, { isServer: true, secureContext: here, requestCert: true })
      client.on('error', () => undefined).on('close', () => onward.destroy())
      // One request is in flight on a connection at most.
      let asked: { readonly operation: Operation | undefined; readonly fault: ProxyFault | undefined } | undefined
      client.on(
        'data',
        messagesOf(request => {
          const operation = operationOf(request)
          requests[operation ?? 'other'] = (requests[operation ?? 'other'] ?? 0) + 1
          const fault = proxy.fault(operation)
          asked = { operation, fault }
          if (fault === 'swallow') return
          if (fault === 'garbage') client.write(Buffer.alloc(64, 0x5a))
          else if (fault === 'throttle') client.write(refusal(operation, [1, 4]))
          else onward.write(request)
        }),
      )
      onward.on(
        'data',
        messagesOf(answer => {
          const { operation, fault } = asked ?? {}
          if (fault === 'stall') return void client.write(answer.subarray(0, 12))
          if (fault === 'cut') return client.end(answer.subarray(0, answer.length - 4))
          client.write(fault === undefined ? answer : lie(fault, operation, answer))
        }),
      )
    })
  }
  const listener = createServer(serve).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const address = listener.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return Object.assign(proxy, {
    options: server.options('gateway', { port }),
    requests,
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      listener.close()
      await once(listener, 'close')
    },
  })
}
