/** The keys of tenants in several key managers: a rule says where new default keys are made, and what lies under any of them stays readable. */
import { SseError } from '../errors.ts'
import type {
  AcceptedKey,
  AcceptScope,
  CallOptions,
  DefaultKeyScope,
  KeyAdministration,
  KeyDescription,
  KeyQuery,
} from './provider.ts'

/** A key manager among several. */
export interface KeyRoute {
  /** Its keys: a `LocalKms`, or a key manager that is `registered`. */
  readonly keys: KeyAdministration
  /** Whether the default key of this tenant (and bucket) is one of its keys. Default: yes. */
  readonly serves?: ((scope: DefaultKeyScope) => boolean) | undefined
}

const isUnknown = (error: unknown): boolean =>
  error instanceof SseError && (error.code === 'KeyNotFound' || error.code === 'InvalidKeyId')

const noRoute = ({ domainId }: DefaultKeyScope): never => {
  throw new SseError('KeyNotFound', {
    message: `No key manager makes default keys for tenant ${domainId}. Add a rule for it, or one without rules, to the configuration.`,
  })
}

/**
 * Several key managers as one. A default key is that of the first one that serves the tenant and bucket; objects may lie under the tenant's
 * keys in each. A key manager that is away stops what needs it, and no more.
 *
 * {@includeCode ../../test/examples/kms.test.ts#routed}
 */
export const routed = (routes: readonly KeyRoute[]): KeyAdministration => {
  const describeKey = async (query: KeyQuery, call?: CallOptions): Promise<KeyDescription> => {
    let problem: unknown
    for (const { keys } of routes) {
      try {
        return await keys.describeKey(query, call)
      } catch (error) {
        if (problem === undefined || isUnknown(problem)) problem = error // that one is away says more than that others do not know the key
      }
    }
    throw problem
  }
  const acceptedKeys = async (scope: AcceptScope, call?: CallOptions): Promise<readonly AcceptedKey[]> => {
    const answers = await Promise.allSettled(routes.map(({ keys }) => keys.acceptedKeys(scope, call)))
    const accepted = answers.flatMap(answer => (answer.status === 'fulfilled' ? answer.value : []))
    const failed = answers.find(answer => answer.status === 'rejected')
    if (failed !== undefined && (scope.keyId === undefined || accepted.length === 0)) throw failed.reason
    return accepted
  }
  return {
    recordsDefaults: routes.every(({ keys }) => keys.recordsDefaults === true),
    describeKey,
    defaultKey: async (scope, call) => {
      const route = routes.find(({ serves }) => serves === undefined || serves(scope)) ?? noRoute(scope)
      return route.keys.defaultKey(scope, call)
    },
    acceptedKeys,
  }
}
