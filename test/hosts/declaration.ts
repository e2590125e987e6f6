/**
 * A test file that cannot run everywhere says so in its first line, `// hosts: node, deno — starts processes`: the hosts that it
 * runs in, and why not in the others.
 */
import { readFile } from 'node:fs/promises';
import { HOSTS, type HostName } from './host.ts';

export interface Declaration {
  readonly hosts: readonly HostName[];
  readonly reason: string;
}

/** @throws when the line is there and says no hosts, unknown ones, or no reason */
export function declarationOf(source: string): Declaration | null {
  const [first] = source.split('\n', 1);
  if (!/^\/\/\s*hosts\b/i.test(first!)) return null;
  const parts = /^\/\/ hosts: ([a-z, -]+) — (.+)$/.exec(first!);
  const names = (parts?.[1] ?? '').split(', ');
  const hosts = HOSTS.filter((host) => names.includes(host));
  if (!parts || hosts.length < names.length) {
    throw new Error(`Write "// hosts: ${HOSTS.join(', ')} — why", not "${first}".`);
  }
  return { hosts, reason: parts[2]! };
}

/** Why a file is left out in a host, or null when it runs there. */
export async function leftOut(file: string, host: HostName): Promise<string | null> {
  const declaration = declarationOf(await readFile(file, 'utf8'));
  return declaration === null || declaration.hosts.includes(host) ? null : declaration.reason;
}
