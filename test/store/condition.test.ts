import t from 'tap'
import { assertCondition } from '../../lib/store/condition.ts'
import type { ObjectCondition, ObjectSummary } from '../../lib/store/records.ts'

const object: ObjectSummary = {
  size: 5,
  storedSize: 50,
  etag: 'one',
  modified: 1_700_000_000_999,
  kind: 'sse-kms',
  headers: {},
  notes: {},
  owner: 'domain',
  revision: 'r1',
}

type Outcome = 'holds' | 'NoSuchKey' | 'PreconditionFailed' | 'AccessDenied'

// What each member asks: of the object above, and where there is none.
const rows: readonly (readonly [ObjectCondition | undefined, there: Outcome, absent: Outcome])[] = [
  [undefined, 'holds', 'holds'],
  [{}, 'holds', 'holds'],
  [{ revision: 'r1' }, 'holds', 'PreconditionFailed'],
  [{ revision: 'r2' }, 'PreconditionFailed', 'PreconditionFailed'],
  [{ ifMatch: '*' }, 'holds', 'NoSuchKey'],
  [{ ifMatch: ['two', 'one'] }, 'holds', 'NoSuchKey'],
  [{ ifMatch: ['two'] }, 'PreconditionFailed', 'NoSuchKey'],
  [{ ifMatch: [] }, 'PreconditionFailed', 'NoSuchKey'],
  [{ ifNoneMatch: '*' }, 'PreconditionFailed', 'holds'],
  [{ ifNoneMatch: ['two', 'one'] }, 'PreconditionFailed', 'holds'],
  [{ ifNoneMatch: ['two'] }, 'holds', 'holds'],
  [{ modified: 1_700_000_000 }, 'holds', 'holds'],
  [{ modified: 1_700_000_001 }, 'PreconditionFailed', 'holds'],
  [{ size: 5 }, 'holds', 'holds'],
  [{ size: 50 }, 'PreconditionFailed', 'holds'],
  [{ size: 0 }, 'PreconditionFailed', 'holds'],
  [{ refuseKinds: ['sse-c', 'sse-kms'] }, 'AccessDenied', 'holds'],
  [{ refuseKinds: ['sse-c'] }, 'holds', 'holds'],
  [{ refuseKinds: [] }, 'holds', 'holds'],
  // All of them have to hold; nobody learns an ETag of what is refused.
  [{ ifMatch: ['one'], size: 6 }, 'PreconditionFailed', 'NoSuchKey'],
  [{ ifMatch: ['two'], refuseKinds: ['sse-kms'] }, 'AccessDenied', 'NoSuchKey'],
  [
    {
      revision: 'r1',
      ifMatch: ['one'],
      ifNoneMatch: ['two'],
      modified: 1_700_000_000,
      size: 5,
      refuseKinds: ['plain'],
    },
    'holds',
    'NoSuchKey',
  ],
]

t.test('what a condition asks of an object, and where there is none', async t => {
  for (const [condition, ...outcomes] of rows) {
    for (const [i, current] of [object, undefined].entries()) {
      const what = `${JSON.stringify(condition)} of ${current === undefined ? 'none' : 'an object'}`
      const outcome = outcomes[i] ?? 'holds'
      if (outcome === 'holds') t.doesNotThrow(() => assertCondition(current, condition), what)
      else t.throws(() => assertCondition(current, condition), { code: outcome }, what)
    }
  }
})

t.test('what does not hold is named', async t => {
  const refusal = (condition: ObjectCondition): unknown => {
    try {
      return assertCondition(object, condition)
    } catch (error) {
      return error
    }
  }
  for (const [condition, name] of [
    [{ ifMatch: ['two'] }, 'If-Match'],
    [{ ifNoneMatch: '*' }, 'If-None-Match'],
    [{ modified: 1 }, 'x-amz-if-match-last-modified-time'],
    [{ size: 1 }, 'x-amz-if-match-size'],
  ] as const) {
    t.match(refusal(condition), { details: { Condition: name } })
  }
})
