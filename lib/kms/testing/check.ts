/** Whether the setup of the conformance suite can be right, before any case fails for it. */
import { SseError } from '../../errors.ts'
import { inTime, nameOf, withoutSecrets } from './expect.ts'
import type { ConformanceSetup } from './setup.ts'

const strings = ['keyId', 'otherKeyId'] as const
const calls = ['generateDataKey', 'wrapDataKey', 'unwrapDataKey', 'rewrapDataKey', 'describe'] as const

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined

/** What a setup lacks: members of its own, and calls of its key manager. None where it is one. */
export const lackedBy = (setup: unknown): readonly string[] => {
  const kms = fieldOf(setup, 'kms')
  const members =
    typeof kms === 'object' && kms !== null ? calls.filter(name => typeof fieldOf(kms, name) !== 'function') : []
  return [
    ...(typeof kms === 'object' && kms !== null ? [] : ['kms']),
    ...strings.filter(name => typeof fieldOf(setup, name) !== 'string'),
    ...members.map(name => `kms.${name}`),
  ]
}

const refuse = (message: string): never => {
  throw new SseError('InvalidSetup', { message })
}

/** The most that a key manager takes to tell of a key, in milliseconds. */
const limit = 30_000

/** Rejects with `InvalidSetup` unless a setup is whole, rules out cases that there are, and names two keys that are enabled. */
export const checkSetup = async (setup: ConformanceSetup, cases: readonly string[]): Promise<void> => {
  const lacked = lackedBy(setup)
  if (lacked.length > 0) refuse(`The setup lacks ${lacked.join(', ')}.`)
  const { kms, notApplicable = {} } = setup
  for (const name of Object.keys(notApplicable)) {
    if (!cases.includes(name))
      refuse(`notApplicable of the setup: there is no case "${name}". There are ${cases.join(', ')}.`)
  }
  if (setup.keyId === setup.otherKeyId) refuse('keyId and otherKeyId of the setup are the same. Name two keys.')
  for (const member of strings) {
    const keyId = setup[member]
    const which = `${member} of the setup, ${keyId},`
    const told = await inTime('describe', limit, (async () => kms.describe(keyId))()).catch((error: unknown) =>
      refuse(
        withoutSecrets(`${which} is no key that can be used: describe rejects with ${nameOf(error)}.`, setup.secrets),
      ),
    )
    const { keyId: full, state } = told ?? {}
    if (full !== keyId) refuse(`${which} is no full id, or describe is wrong: it answers ${String(full)}.`)
    if (state !== 'enabled') refuse(`${which} must be enabled, and describe answers that it is ${String(state)}.`)
  }
}
