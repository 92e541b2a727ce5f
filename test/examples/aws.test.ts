/** What the guide to AWS KMS shows, with moto in place of AWS where the machine has it. */
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { createSse } from '../../lib/index.ts'
import { awsKms } from '../../lib/kms/aws/aws.ts'
import { noMoto, startMoto } from '../support/aws.ts'

t.test('AWS KMS', { skip: noMoto }, async t => {
  const { keyId: arn, config, stop } = await startMoto()
  t.teardown(stop)
  const { accessKeyId, secretAccessKey } = Object(config.credentials)
  Object.assign(process.env, {
    ...{ AWS_ENDPOINT_URL: config.endpoint, AWS_REGION: config.region, KMS_KEY: arn },
    ...{ AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
  })
  // #region aws
  const kms = awsKms({ config: { region: process.env['AWS_REGION'] ?? 'eu-west-1' } }) // credentials come from where the SDK finds them
  const keyId = process.env['KMS_KEY'] ?? 'arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab'
  const sse = createSse({ kms, accept: [keyId] })
  const put = await sse.encrypt({ context: { 'aws:s3:arn': 'arn:aws:s3:::bucket/key' } })
  // #endregion aws
  const stored = await buffer(Readable.from(['Hello']).compose(put.stream))
  const get = await sse.decrypt(put.result().envelope, { context: { 'aws:s3:arn': 'arn:aws:s3:::bucket/key' } })
  t.equal(String(await buffer(Readable.from([stored]).compose(get.stream))), 'Hello')
  kms.close?.()
})
