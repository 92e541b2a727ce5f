/** What the guide to AWS KMS shows, with moto in place of AWS where the machine has it. */
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { createSse } from '../../lib/index.ts'
import { awsKms } from '../../lib/kms/aws/aws.ts'
import { noMoto, startMoto } from '../support/aws.ts'

t.test('AWS KMS', { skip: noMoto }, async t => {
  const { keyId, config, stop } = await startMoto()
  t.teardown(stop)
  // #region aws
  const kms = awsKms({ config: { region: 'eu-west-1', ...config } }) // credentials come from where the SDK finds them
  const sse = createSse({ kms, accept: [keyId] }) // keyId: the ARN of a key, arn:aws:kms:eu-west-1:123456789012:key/…
  const put = await sse.encrypt({ context: { 'aws:s3:arn': 'arn:aws:s3:::bucket/key' } })
  // #endregion aws
  const stored = await buffer(Readable.from(['Hello']).compose(put.stream))
  const get = await sse.decrypt(put.result().envelope, { context: { 'aws:s3:arn': 'arn:aws:s3:::bucket/key' } })
  t.equal(String(await buffer(Readable.from([stored]).compose(get.stream))), 'Hello')
  kms.close?.()
})
