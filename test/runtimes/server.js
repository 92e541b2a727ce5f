/** The course in a runtime for servers: the entry that the task names. */
import { take, remoteKeys } from './course.js'

const task = JSON.parse(process.argv[2])
if (task.entry === '.') {
  const { createSse, LocalKms } = await import('../../dist/index.js')
  const kms = await LocalKms.open(task.keys, { root: { key: Uint8Array.from(task.rootKey) } })
  await take(createSse, kms, task)
  kms.close()
} else {
  const web = await import('../../dist/web.js')
  await take(web.createSse, remoteKeys(web, task.base), task)
}
