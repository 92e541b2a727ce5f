/** Opens a stored object for a check, from its first byte to its last, with the keys of its owner and of the service: no requester is asked for. */
import type { Bucket } from '../../store/records.ts'
import type { OpenedObject } from '../../store/store.ts'
import type { Services } from '../services.ts'
import { describeStored, keysOfStored } from './encryption.ts'
import { openStored } from './read.ts'

/**
 * Reads all of an object; `false`, and nothing is read, where it is under a customer's key. Rejects as a GET would fail. Every segment is checked.
 */
export const verifyStored = async (
  services: Pick<Services, 'sse' | 'kms' | 'profile'>,
  bucket: Bucket,
  key: string,
  { record, body }: OpenedObject,
): Promise<boolean> => {
  if (record.kind === 'sse-c') return false
  const place = { bucket, owner: { domainId: bucket.owner, projectId: '' } }
  const options = record.kind === 'plain' ? {} : await keysOfStored(services, record, place, key)
  const read = { options, answer: describeStored(record), release: () => undefined }
  const opened = await openStored(services, record, read, { body, details: true })
  for await (const _ of opened.read());
  return true
}
