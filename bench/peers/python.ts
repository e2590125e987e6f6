/** Python as a peer: a script in a child process that answers a line of JSON with a line of JSON. */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const python = (): string => process.env['ESPALIER_PYTHON'] ?? 'python3';

/**
 * Why a peer cannot run, or null.
 * @param imports what its script needs, and how pip calls it
 */
export async function unavailable(
  name: string,
  { imports, packages }: { readonly imports: string; readonly packages: string },
): Promise<string | null> {
  try {
    await promisify(execFile)(python(), ['-c', `import ${imports}`]);
    return null;
  } catch (error) {
    const reason = ((error as { stderr?: string }).stderr || (error as Error).message).trim().split('\n').pop();
    return `${name} is not there: pip install ${packages}, and set ESPALIER_PYTHON to that python (${reason})`;
  }
}

/** Every call waits for its answer, so runs can alternate with those of other contenders. */
export class PythonChild {
  readonly #name: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #died: Promise<never>;
  #stderr = '';

  /**
   * @param name for messages
   * @param script beside this file
   * @param environment beside that of this process
   */
  constructor(name: string, script: string, environment: Readonly<Record<string, string>>) {
    this.#name = name;
    const path = fileURLToPath(new URL(script, import.meta.url));
    this.#child = spawn(python(), [path], { env: { ...process.env, ...environment } });
    this.#child.stdin.on('error', () => {}); // a dead child is reported by call
    this.#child.stderr.on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-2000);
    });
    this.#lines = createInterface(this.#child.stdout);
    this.#died = once(this.#child, 'close').then(() => {
      throw new Error(`${name}'s process ended: ${this.#stderr}`);
    });
    this.#died.catch(() => {});
  }

  /** @throws Error for what the script says is wrong, and when it has ended */
  async call<T>(request: object): Promise<T> {
    const answer = once(this.#lines, 'line');
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const [line] = (await Promise.race([answer, this.#died])) as [string];
    const reply = JSON.parse(line);
    if (reply.error) throw new Error(`${this.#name}: ${reply.error}`);
    return reply as T;
  }

  async dispose(): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}
