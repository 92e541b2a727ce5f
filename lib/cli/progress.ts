/** The progress bar of long input: to a terminal on stderr, with bytes, rate and time left, by the optional package cli-progress. */
import { Transform } from 'node:stream'
import type { Io } from './io.ts'

/** How soon a bar appears, in ms: short input shows none. */
const patience = 500

/** Counts what flows through, and shows it. */
export interface Progress {
  /** A stage of the pipeline; it changes nothing. */
  readonly stream: Transform
  /** Takes the bar away. */
  stop(): void
}

/** Bytes for people, such as `1.5 GiB`. */
export const formatBytes = (bytes: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

/** Seconds for people, such as `1:05:09`. */
export const formatTime = (seconds: number): string => {
  const s = Math.ceil(seconds)
  const two = (n: number) => String(n).padStart(2, '0')
  const hours = Math.floor(s / 3600)
  const minutes = Math.floor(s / 60) % 60
  return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(s % 60)}`
}

/** What the bar says after `seconds`: `total` is unknown where the input is a pipe. */
export const describe = (bytes: number, total: number | undefined, seconds: number): string => {
  const rate = seconds > 0 ? bytes / seconds : 0
  const done = total === undefined ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(total)}`
  const time = total === undefined ? formatTime(seconds) : `${rate > 0 ? formatTime((total - bytes) / rate) : '?'} left`
  return `${done} | ${formatBytes(Math.round(rate))}/s | ${time}`
}

/** How progress is shown. */
export interface ProgressOptions {
  /** Whether there is somebody to show it to. */
  readonly visible: boolean
  /** Ms until the bar appears. */
  readonly after?: number
  /** Loads the package; without it there is no bar. */
  readonly load?: () => Promise<{ readonly default: typeof import('cli-progress') }>
}

/** A counter for the pipeline; `total` is the input's length where it is known. */
export const progress = (
  io: Io,
  total: number | undefined,
  { visible, after = patience, load = () => import('cli-progress') }: ProgressOptions,
): Progress => {
  const start = Date.now()
  let bytes = 0
  let stopped = false
  let stop = () => undefined
  const text = () => describe(bytes, total, (Date.now() - start) / 1000)
  const show = async (): Promise<void> => {
    const loaded = await load().catch(() => undefined)
    if (loaded === undefined || stopped) return
    const { Presets, SingleBar } = loaded.default
    const format = total === undefined ? '{text}' : '{bar} {percentage}% | {text}'
    const options = {
      format,
      stream: io.stderr,
      barsize: 24,
      clearOnComplete: true,
      gracefulExit: false,
      emptyOnZero: true,
    }
    const bar = new SingleBar(options, Presets.shades_classic)
    bar.start(total ?? 0, 0, { text: text() })
    const ticker = setInterval(() => bar.update(bytes, { text: text() }), 200)
    stop = () => {
      clearInterval(ticker)
      bar.update(bytes, { text: text() })
      bar.stop()
    }
  }
  const timer = visible ? setTimeout(() => void show(), after) : undefined
  return {
    stream: new Transform({
      transform: (chunk: Uint8Array, _encoding, done) => {
        bytes += chunk.length
        done(null, chunk)
      },
    }),
    stop: () => {
      stopped = true
      clearTimeout(timer)
      stop()
    },
  }
}
