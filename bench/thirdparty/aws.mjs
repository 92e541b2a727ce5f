/** The AWS Encryption SDK: frames of 64 KiB without a signature, its fastest, and as it comes. */
import { randomBytes } from 'node:crypto'
import client from '@aws-crypto/client-node'

const { AlgorithmSuiteIdentifier, buildClient, CommitmentPolicy, RawAesKeyringNode, RawAesWrappingSuiteIdentifier } =
  client
const { encryptStream, decryptStream } = buildClient(CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
const keyring = new RawAesKeyringNode({
  keyName: 'key',
  keyNamespace: 'bench',
  unencryptedMasterKey: new Uint8Array(randomBytes(32)),
  wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
})

const rival = (settings, options) => ({
  package: '@aws-crypto/client-node',
  settings,
  kind: 'node',
  seal: () => encryptStream(keyring, options),
  open: () => decryptStream(keyring),
})

export const rivals = [
  rival('64 KiB frames, no signature', {
    frameLength: 65_536,
    suiteId: AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY,
  }),
  { ...rival('default, 4 KiB frames', {}), full: true },
]
