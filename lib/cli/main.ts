#!/usr/bin/env node
/** The program `sse-kms`: one run of the process's own arguments, streams and signals. */
import { tuneMemory } from '../segment/node.ts'
import { run } from './run.ts'
import { interruptSignal } from './signals.ts'

tuneMemory()
const { stdin, stdout, stderr, env } = process
const signal = interruptSignal(process)
// Whoever writes learns of an error through its callback; without a listener the process would end in a stack trace.
stdout.on('error', () => undefined)
stderr.on('error', () => undefined)
// Everything was written and closed by then, or the reader of a pipe is stuck and would hold the process for good.
process.exit(await run(process.argv.slice(2), { stdin, stdout, stderr, env, signal }))
