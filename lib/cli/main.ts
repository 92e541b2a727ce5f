#!/usr/bin/env node
/** The program `sse-kms`: runs the process's own arguments, streams and signals. */
import { tuneMemory } from '../segment/node.ts'
import { interruptsOf } from './io.ts'
import { run } from './program.ts'

tuneMemory()
const { stdin, stdout, stderr, env } = process
const interrupts = interruptsOf(process)
// A write that fails is reported to its callback. Without a listener it would also end the process with a stack trace.
stdout.on('error', () => undefined)
stderr.on('error', () => undefined)
// Everything is written and closed by now. A pipe that nobody reads would keep the process alive forever.
process.exit(await run(process.argv.slice(2), { stdin, stdout, stderr, env, ...interrupts }))
