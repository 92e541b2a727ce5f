/** A progress bar on stderr, by the optional package cli-progress. There is none without it, nor where stderr is no terminal. */
import type { Io } from './io.ts'

/** How progress is shown. */
export interface ProgressOptions {
  /** Whether to show a bar at all. */
  readonly visible: boolean
  /** Milliseconds until the bar appears, so that short input shows none; 500 by default. */
  readonly after?: number
  /** Loads the optional package. There is no bar without it. */
  readonly load?: () => Promise<{ readonly default: typeof import('cli-progress') }>
}

/** What a bar shows. */
export interface BarOptions extends ProgressOptions {
  /** What `value` is when all is done, if that is known. */
  readonly total: number | undefined
  /** How far it is. */
  now(): { readonly value: number; readonly text: string }
}

/** Shows a bar until it is stopped. */
export const showBar = (
  io: Io,
  { visible, after = 500, load = () => import('cli-progress'), total, now }: BarOptions,
): { stop(): void } => {
  let stopped = false
  let stop = () => undefined
  const show = async (): Promise<void> => {
    const loaded = await load().catch(() => undefined)
    if (loaded === undefined || stopped) return
    const { Presets, SingleBar } = loaded.default
    const options = {
      format: total === undefined ? '{text}' : '{bar} {percentage}% | {text}',
      stream: io.stderr,
      barsize: 24,
      clearOnComplete: true,
      gracefulExit: false,
      emptyOnZero: true,
    }
    const bar = new SingleBar(options, Presets.shades_classic)
    bar.start(total ?? 0, 0, { text: now().text })
    const update = () => {
      const { value, text } = now()
      bar.update(value, { text })
    }
    const ticker = setInterval(update, 200)
    stop = () => {
      clearInterval(ticker)
      update()
      bar.stop()
    }
  }
  const timer = visible ? setTimeout(() => void show(), after) : undefined
  return {
    stop: () => {
      stopped = true
      clearTimeout(timer)
      stop()
    },
  }
}
