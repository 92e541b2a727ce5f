/** The public access block of a bucket, its ownership controls, and whether its policy is public. */
import { SseError } from '../../errors.ts'
import {
  assertOwnershipFits,
  ownershipSetting,
  ownershipXml,
  publicAccessSetting,
  publicAccessXml,
} from '../access/public-access.ts'
import { answerXml } from '../http/answer.ts'
import { fromXml } from '../http/xml.ts'
import { type GatewayRequest, openBucket } from '../request.ts'
import { bucketSetting } from './settings.ts'

const smallBody = 64 * 1024
const block = 'PublicAccessBlockConfiguration'

/** The public access block. */
export const publicAccessBlockActions = bucketSetting({
  name: 'publicAccessBlock',
  permissions: { get: 'GetBucketPublicAccessBlock', put: 'PutBucketPublicAccessBlock' },
  limit: smallBody,
  status: 200,
  parse: document => publicAccessSetting(fromXml(document, block)),
  answer: ({ res }, kept, { bucket }) => {
    const details = { BucketName: bucket.name }
    if (kept === undefined) throw new SseError('NoSuchPublicAccessBlockConfiguration', { details })
    answerXml(res, block, publicAccessXml(kept))
  },
})

const controls = 'OwnershipControls'

/** The ownership controls. Those that disable ACLs take a bucket whose own ACL opens nothing. */
export const bucketOwnershipActions = bucketSetting({
  name: 'ownership',
  permissions: { get: 'GetBucketOwnershipControls', put: 'PutBucketOwnershipControls' },
  limit: smallBody,
  status: 200,
  parse: (document, bucket) => {
    const ownership = ownershipSetting(fromXml(document, controls))
    bucket.bySettings(({ acl }) => assertOwnershipFits(ownership, acl))
    return ownership
  },
  answer: ({ res }, kept, { bucket }) => {
    if (kept === undefined) {
      throw new SseError('OwnershipControlsNotFoundError', { details: { BucketName: bucket.name } })
    }
    answerXml(res, controls, ownershipXml(kept))
  },
})

/** Answers whether the policy of the bucket is public. `NoSuchBucketPolicy`. */
export const getBucketPolicyStatus = async (request: GatewayRequest): Promise<void> => {
  const { bucket, policy } = await openBucket(request, 's3:GetBucketPolicyStatus')
  if (policy === undefined) throw new SseError('NoSuchBucketPolicy', { details: { BucketName: bucket.name } })
  answerXml(request.res, 'PolicyStatus', { IsPublic: policy.isPublic })
}
