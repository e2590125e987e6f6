/**
 * What a test file says of itself in its first lines. One that cannot run everywhere: `// hosts: node, deno — starts processes`, the hosts
 * that it runs in, and why not in the others. One that takes long or starts many processes: `// long — trains for a minute`; it runs
 * with `--all` or `--long` alone. One about one device: `// device: webgpu — what only a GPU has`; it runs with `--device webgpu` alone.
 */
import { readFile } from 'node:fs/promises';
import { DEVICES, HOSTS, type HostName, type TestDevice } from './host.ts';

export interface Declaration {
  readonly hosts: readonly HostName[];
  /** Why not in the others. */
  readonly reason: string;
  /** Why it does not always run; null: it does. */
  readonly long: string | null;
  /** The one device that it is about, and why. */
  readonly device: { readonly name: TestDevice; readonly reason: string } | null;
}

/** @throws when a line is there and says no hosts, unknown ones, or no reason */
export function declarationOf(source: string): Declaration {
  let hosts: readonly HostName[] = HOSTS;
  let reason = '';
  let long: string | null = null;
  let device: Declaration['device'] = null;
  for (const line of source.split('\n', 2)) {
    if (/^\/\/\s*hosts\b/i.test(line)) {
      const parts = /^\/\/ hosts: ([a-z, -]+) — (.+)$/.exec(line);
      const names = (parts?.[1] ?? '').split(', ');
      hosts = HOSTS.filter((host) => names.includes(host));
      if (!parts || hosts.length < names.length) throw wrong(`// hosts: ${HOSTS.join(', ')} — why`, line);
      reason = parts[2]!;
    } else if (/^\/\/\s*device\b/i.test(line)) {
      const parts = /^\/\/ device: ([a-z]+) — (.+)$/.exec(line);
      const name = DEVICES.find((one) => one === parts?.[1]);
      if (!name) throw wrong(`// device: ${DEVICES.join(' or ')} — why`, line);
      device = { name, reason: parts![2]! };
    } else if (/^\/\/\s*long\b/i.test(line)) {
      long = /^\/\/ long — (.+)$/.exec(line)?.[1] ?? null;
      if (long === null) throw wrong('// long — why', line);
    }
  }
  return { hosts, reason, long, device };
}

function wrong(form: string, line: string): Error {
  return new Error(`Write "${form}", not "${line}".`);
}

/** Which files are wanted. */
export type Length = 'short' | 'long' | 'all';

/** Why a file is left out in a host, or null when it runs there; undefined where only others are wanted. */
export async function leftOut(
  file: string,
  host: HostName,
  on: TestDevice,
  length: Length,
): Promise<string | null | undefined> {
  const { hosts, reason, long, device } = declarationOf(await readFile(file, 'utf8'));
  if (length === 'long' && long === null) return undefined;
  if (!hosts.includes(host)) return reason;
  if (device && device.name !== on) return device.reason;
  return long !== null && length === 'short' ? `long: ${long}` : null;
}
