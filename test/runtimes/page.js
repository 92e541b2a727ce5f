/** The course in a browser: a bundle of this is the only script of its page. */
import * as web from '../../dist/web.js'
import { take, remoteKeys } from './course.js'

const task = JSON.parse(decodeURIComponent(location.hash.slice(1)))
await take(web.createSse, remoteKeys(web, task.base), task)
