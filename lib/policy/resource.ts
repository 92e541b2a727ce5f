/**
 * `Resource` and `NotResource`: the bucket that has the policy, and its objects. S3 writes `arn:aws:s3:::bucket/key`, OBS `bucket/key`;
 * `*` and `?` also match slashes. As S3 does it, a resource of another bucket (or `*` alone) is refused.
 */

import { glob } from './glob.ts'
import { malformed, quote } from './malformed.ts'
import type { Placed } from './shape.ts'

/** One pattern of resources. */
export interface ResourcePattern {
  /** `bucket` or `bucket/key` with wildcards, to be held against what {@link bareResource} gives. */
  readonly pattern: string
  /** Whether it is about the bucket itself. */
  readonly namesBucket: boolean
  /** Whether it is about objects. */
  readonly namesObjects: boolean
}

/** `bucket` or `bucket/key` of a resource that is written with or without its ARN. */
export const bareResource = (resource: string): string => resource.replace(/^arn:aws:s3:::/, '')

/** Reads one resource; throws `SseError` MalformedPolicy where it is not one of `bucket`. */
export const parseResource = ({ place, text }: Placed, bucket: string): ResourcePattern => {
  const pattern = bareResource(text)
  const rest = pattern.slice(bucket.length)
  if (!pattern.startsWith(bucket) || !/^(?:$|[/*?])/.test(rest))
    throw malformed(
      place,
      `${quote(text)} is not a resource of this bucket. Use "arn:aws:s3:::${bucket}" or "arn:aws:s3:::${bucket}/*".`,
    )
  return { pattern, namesBucket: glob([pattern])(bucket), namesObjects: rest !== '' }
}
