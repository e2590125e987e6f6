/** A script as a process of its own, as the runtime of the test starts one: from its source, or from what the runner made of it. */
import { fileURLToPath } from 'node:url';

/** The program and its first arguments; the script's own follow. */
export function scriptCommand(script: URL, flags: readonly string[] = []): readonly string[] {
  const path = fileURLToPath(script);
  if ('Deno' in globalThis) return [process.execPath, 'run', '--allow-all', '--no-lock', path];
  return [process.execPath, ...flags, ...(path.endsWith('.ts') ? ['--import', 'tsx'] : []), path];
}
