/** The numbers of KMIP (1.4, section 9.1.3; 2.0, section 11) that this client uses, by their names. */

/** Tags of items. */
export const tags = {
  attribute: 0x420008,
  attributeName: 0x42000a,
  attributeValue: 0x42000b,
  authentication: 0x42000c,
  batchCount: 0x42000d,
  batchItem: 0x42000f,
  blockCipherMode: 0x420011,
  credential: 0x420023,
  credentialType: 0x420024,
  credentialValue: 0x420025,
  algorithm: 0x420028,
  length: 0x42002a,
  parameters: 0x42002b,
  usageMask: 0x42002c,
  initialDate: 0x420039,
  nonce: 0x42003d,
  maximumResponseSize: 0x420050,
  name: 0x420053,
  nameType: 0x420054,
  nameValue: 0x420055,
  objectType: 0x420057,
  operation: 0x42005c,
  protocolVersion: 0x420069,
  major: 0x42006a,
  minor: 0x42006b,
  requestHeader: 0x420077,
  requestMessage: 0x420078,
  requestPayload: 0x420079,
  responseHeader: 0x42007a,
  responseMessage: 0x42007b,
  responsePayload: 0x42007c,
  resultMessage: 0x42007d,
  resultReason: 0x42007e,
  resultStatus: 0x42007f,
  revocationReason: 0x420081,
  revocationReasonCode: 0x420082,
  state: 0x42008d,
  templateAttribute: 0x420091,
  uniqueIdentifier: 0x420094,
  username: 0x420099,
  password: 0x4200a1,
  data: 0x4200c2,
  tagLength: 0x4200ce,
  additionalData: 0x4200fe,
  authenticationTag: 0x4200ff,
  attributes: 0x420125,
  attributeReference: 0x42013b,
} as const

/** Operations. */
export const operations = {
  Create: 0x01,
  Locate: 0x08,
  'Get Attributes': 0x0b,
  Activate: 0x12,
  Revoke: 0x13,
  Destroy: 0x14,
  Encrypt: 0x1f,
  Decrypt: 0x20,
} as const

/** Name of an operation. */
export type Operation = keyof typeof operations

/** Attributes: their names up to KMIP 1.4, and their tags, which name them from 2.0 on. */
export const attributeNames = {
  'Unique Identifier': tags.uniqueIdentifier,
  Name: tags.name,
  'Object Type': tags.objectType,
  'Cryptographic Algorithm': tags.algorithm,
  'Cryptographic Length': tags.length,
  'Cryptographic Usage Mask': tags.usageMask,
  'Initial Date': tags.initialDate,
  State: tags.state,
} as const

/** Values of enumerations and masks. */
export const values = {
  symmetricKey: 2,
  aes: 3,
  gcm: 9,
  /** A name that is nothing but text. */
  uninterpretedText: 1,
  /** Encrypt and Decrypt. */
  encryptAndDecrypt: 4 | 8,
  usernameAndPassword: 1,
  cessationOfOperation: 6,
  success: 0,
  failed: 1,
} as const

/** States of a key. */
export const states = {
  preActive: 1,
  active: 2,
  deactivated: 3,
  compromised: 4,
  destroyed: 5,
  destroyedCompromised: 6,
} as const
