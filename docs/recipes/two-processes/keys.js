import { createSse, LocalKms } from 'sse-kms-streams'

/** The same keys in every process. */
const data = process.env.DATA ?? './data'
export const kms = await LocalKms.open(`${data}/keys`, { root: { file: `${data}/root.key`, create: true } })
const { keyId } = await kms.defaultKey({ region: 'sichuan', domainId: 'my-tenant' })
export const sse = createSse({ kms, accept: [keyId] })
