/** `--compare REV`: the same cases with this build and with that of another revision, in turn. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Contestant, Group } from './harness.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** A revision that was built. */
export interface OtherBuild {
  /** Short name of the revision. */
  readonly name: string
  /** Folder of its build. */
  readonly dist: URL
  /** Removes the working tree. */
  remove(): Promise<void>
}

const git = (...args: readonly string[]): string =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim()

/** Checks a revision out into a working tree of its own and builds it with the packages that are installed here. */
export const buildOf = async (revision: string, tell: (line: string) => void): Promise<OtherBuild> => {
  const name = git('rev-parse', '--short', '--verify', `${revision}^{commit}`)
  const folder = mkdtempSync(join(tmpdir(), 'sse-kms-bench-'))
  const tree = join(folder, 'tree')
  const remove = async () => {
    git('worktree', 'remove', '--force', tree)
    rmSync(folder, { recursive: true, force: true })
  }
  tell(`building ${name}`)
  git('worktree', 'add', '--quiet', '--detach', tree, name)
  try {
    symlinkSync(join(root, 'node_modules'), join(tree, 'node_modules'), 'junction')
    const compiler = join(root, 'node_modules/typescript/bin/tsc')
    execFileSync(process.execPath, [compiler, '-p', 'lib'], { cwd: tree, stdio: ['ignore', 'inherit', 'inherit'] })
  } catch (error) {
    await remove()
    throw error
  }
  return { name, dist: pathToFileURL(join(tree, 'dist/')), remove }
}

/** Groups in which each of our contestants meets that of the other revision; what only one of them has is left out, in one line. */
export const paired = (
  mine: readonly Group[],
  theirs: readonly Group[],
  revision: string,
  note: (line: string) => void,
): readonly Group[] => {
  const keyOf = (group: Group, { name, direction, size }: Contestant) => [group.name, name, direction, size].join('\n')
  const old = new Map(theirs.flatMap(group => group.contestants.map(each => [keyOf(group, each), each])))
  return mine.map(group => {
    const contestants = group.contestants.flatMap((contestant): readonly Contestant[] => {
      if (contestant.own !== true) return []
      const before = old.get(keyOf(group, contestant))
      if (before === undefined) {
        note(`left out: ${contestant.name}: ${revision} has none`)
        return []
      }
      const renamed = { ...before, name: `${before.name} (${revision})`, against: [] }
      return [renamed, { ...contestant, against: [renamed] }]
    })
    return { ...group, contestants }
  })
}
