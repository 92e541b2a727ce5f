/** age-encryption: ChaCha20-Poly1305 in segments of 64 KiB, to an X25519 recipient. */
import { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'

const identity = await generateX25519Identity()
const recipient = await identityToRecipient(identity)

export const rivals = [
  {
    package: 'age-encryption',
    settings: 'X25519',
    kind: 'web',
    seal: from => {
      const encrypter = new Encrypter()
      encrypter.addRecipient(recipient)
      return encrypter.encrypt(from)
    },
    open: from => {
      const decrypter = new Decrypter()
      decrypter.addIdentity(identity)
      return decrypter.decrypt(from)
    },
  },
]
