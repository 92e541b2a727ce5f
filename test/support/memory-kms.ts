/** The key manager in memory, set up for the conformance suite, with a fault that a test turns on. */
import {
  type ConformanceSetup,
  type MemoryFault,
  memoryKms,
  type MemoryKms,
  type MemoryKmsOptions,
} from '../../lib/testing.ts'

/** A setup that makes every case applicable. */
export type MemorySetup = ConformanceSetup & { readonly kms: MemoryKms }

/** A key manager in memory with two keys and all faults. */
export const memorySetup = async (options: MemoryKmsOptions = {}): Promise<MemorySetup> => {
  let fault: MemoryFault | undefined
  const kms = memoryKms({ ...options, fault: method => fault ?? options.fault?.(method) })
  const during = (what: MemoryFault) => async () => {
    fault = what
    return async () => {
      fault = undefined
    }
  }
  return {
    kms,
    keyId: (await kms.create('first')).keyId,
    otherKeyId: (await kms.create('other')).keyId,
    missing: 'memory:00000000-0000-4000-8000-000000000000',
    hang: during('hang'),
    unavailable: during('unavailable'),
    throttled: during('throttled'),
  }
}
