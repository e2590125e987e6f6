/** The clock drifts against the time since the start, in milliseconds; no machine starts twice within this. */
const DRIFT = 10_000;

/**
 * What distinguishes the time since this machine was started from all earlier ones: what was written and not synced is there as long
 * as it lasts. `id-…` where the system numbers its starts, else `time-…`, milliseconds since 1970; empty when the host does not say.
 */
export async function bootOf(): Promise<string> {
  const { readFile } = await import('node:fs/promises');
  const { uptime } = await import('node:os');
  try {
    return `id-${(await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()}`;
  } catch {
    // only Linux has it
  }
  try {
    return `time-${Math.round(Date.now() - uptime() * 1000)}`;
  } catch {
    return ''; // Deno asks for a permission
  }
}

/** Whether both are the same start; false when in doubt. */
export function isSameBoot(a: string, b: string): boolean {
  const times = [a, b].map((boot) => Number(/^time-(\d+)$/.exec(boot)?.[1] ?? Number.NaN));
  return (a !== '' && a === b) || Math.abs(times[0]! - times[1]!) < DRIFT;
}
