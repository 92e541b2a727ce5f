/** Without and, where the façade offers it, with a bucket key. */
import type { Bench } from '../harness.ts'
import { bucket, type Service } from './service.ts'

/** One way to wrap data keys. */
export interface Wrapping {
  readonly name: string
  /** What `encrypt` is told besides. */
  readonly seal: object
  /** What `decrypt` is told besides. */
  readonly read: object
}

/** The ways of this façade: a revision without bucket keys does not heed the option. */
export const wrappingsOf = async (bench: Bench, { sse }: Service): Promise<readonly Wrapping[]> => {
  const read = { bucketContext: { 'aws:s3:arn': `arn:aws:s3:::${bucket}` } }
  const seal = { bucketKey: true, ...read }
  const each: Wrapping = { name: 'a KMS call each', seal: {}, read: {} }
  const { driver, planned } = await sse.encrypt({ length: 0, ...seal })
  driver.dispose()
  const { record } = bench.lib.core.parseEnvelope(planned?.envelope ?? new Uint8Array())
  if (record.wrapped.wrapAlg === 3) return [each, { name: 'bucket key', seal, read }]
  bench.note('left out: bucket keys: the façade of this revision has none')
  return [each]
}
