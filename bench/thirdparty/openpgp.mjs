/** OpenPGP.js: AEAD packets (SEIPD v2) with AES-256-GCM under a session key, in its largest chunks; checked chunk by chunk. */
import { randomBytes } from 'node:crypto'
import * as openpgp from 'openpgp'

const sessionKey = {
  data: new Uint8Array(randomBytes(32)),
  algorithm: 'aes256',
  aeadAlgorithm: 'gcm',
}
const config = {
  aeadProtect: true,
  preferredAEADAlgorithm: openpgp.enums.aead.gcm,
  aeadChunkSizeByte: 10, // 2 ** (10 + 6) bytes
  preferredCompressionAlgorithm: openpgp.enums.compression.uncompressed,
}

export const rivals = [
  {
    package: 'openpgp',
    settings: 'AES-256-GCM, 64 KiB chunks',
    kind: 'web',
    seal: async from =>
      openpgp.encrypt({ message: await openpgp.createMessage({ binary: from }), sessionKey, format: 'binary', config }),
    open: async from => {
      const message = await openpgp.readMessage({ binaryMessage: from, config })
      return (await openpgp.decrypt({ message, sessionKeys: [sessionKey], format: 'binary', config })).data
    },
  },
]
