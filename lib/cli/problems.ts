/** What a schema found, as lines for people. */
import type { z } from 'zod'

const pathOf = (keys: readonly PropertyKey[]): string =>
  keys.map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i === 0 ? '' : '.'}${String(key)}`)).join('')

const problemOf = (issue: z.core.$ZodIssue): string => {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(name => `${pathOf([...issue.path, name])}: there is no such field`).join('; ')
  }
  const message = issue.message.replace(/^Invalid input: /, '')
  return issue.path.length === 0 ? message : `${pathOf(issue.path)}: ${message}`
}

/** The problems, each with its field, such as `tenants[0].users[1].name: expected string`. */
export const problemsOf = ({ issues }: z.ZodError): readonly string[] => issues.map(problemOf)
