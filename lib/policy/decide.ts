/**
 * The decision of a bucket policy about one request. Not the last word: what the owner may do without a policy, ACLs, roles, and that no
 * policy opens an SSE-KMS object to another tenant, are the caller's to weigh.
 */

import { bareAction } from './action.ts'
import type { ConditionValues } from './facts.ts'
import type { Policy } from './parse.ts'
import type { PolicyPrincipal } from './principal.ts'
import { bareResource } from './resource.ts'

/** What is asked. */
export interface PolicyRequest {
  /** Who asks. */
  readonly principal: PolicyPrincipal
  /** The permission that the operation needs, for example `s3:PutObject`. */
  readonly action: string
  /** `arn:aws:s3:::bucket` or `arn:aws:s3:::bucket/key`, the key as it is, not percent-encoded. */
  readonly resource: string
  /** The request's values of condition keys; see `requestValues`. */
  readonly values: ConditionValues
}

/** `none`: the policy says nothing, so only who has the right without it may go on. */
export type PolicyDecision = 'allow' | 'deny' | 'none'

/**
 * An explicit deny wins over an allow, an allow over none. Without a policy: `none`.
 *
 * {@includeCode ../../test/examples/rules.test.ts#policy}
 */
export const decide = (policy: Policy | undefined, request: PolicyRequest): PolicyDecision => {
  const action = bareAction(request.action)
  const resource = bareResource(request.resource)
  let decision: PolicyDecision = 'none'
  for (const statement of policy?.statements ?? []) {
    const applies =
      statement.coversPrincipal(request.principal) &&
      statement.coversAction(action) &&
      statement.coversResource(resource) &&
      statement.conditions.every(({ key, holds }) => holds(request.values(key)))
    if (!applies) continue
    if (statement.effect === 'Deny') return 'deny'
    decision = 'allow'
  }
  return decision
}
