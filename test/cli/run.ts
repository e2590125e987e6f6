/** The command as a shell runs it, in Node and Deno. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../../src/cli/program.ts';
import type { Io } from '../../src/cli/shared/io.ts';
import { scriptCommand } from '../hosts/script.ts';

export const project = fileURLToPath(new URL('../..', import.meta.url));

/** The program and its first arguments; those of a command follow. It must be started in the project. */
export const program: readonly string[] = scriptCommand(new URL('../../src/cli/main.ts', import.meta.url));

export interface Ended {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
}

export interface Running {
  readonly ended: Promise<Ended>;
  /** True until it has ended. */
  readonly runs: () => boolean;
  kill(signal: NodeJS.Signals): void;
  /** Called when it has written something. */
  onOutput(listener: () => void): void;
  /** As a reader that has enough. */
  closeOutput(): void;
}

/** Starts any program, without a terminal and without colours. */
export function startProgram([path, ...args]: readonly string[]): Running {
  const child = spawn(path!, args, {
    cwd: project,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, NODE_NO_WARNINGS: '1' },
  });
  let out = '';
  let err = '';
  let runs = true;
  child.stdout.setEncoding('utf8').on('data', (text) => void (out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => void (err += text));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', () => void (runs = false));
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
  });
  return {
    ended,
    runs: () => runs,
    onOutput: (listener) => void child.stdout.on('data', listener),
    closeOutput: () => void child.stdout.destroy(),
    kill: (signal) => {
      try {
        // not child.kill: Deno then reports the signal as the end, whatever the process made of it
        if (runs) process.kill(child.pid!, signal);
      } catch (error) {
        // it has ended, and its `exit` is on the way
        if ((error as { code?: unknown }).code !== 'ESRCH') throw error;
      }
    },
  };
}

export function start(args: readonly string[]): Running {
  return startProgram([...program, ...args]);
}

export interface Answered {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The same in this process, which takes a hundredth of the time. `input` is what standard input holds. */
export async function inProcess(
  args: readonly string[],
  {
    input = '',
    columns = 80,
    colours = false,
    errorColumns = null,
    signal = new AbortController().signal,
  }: Partial<{
    input: string;
    columns: number;
    colours: boolean;
    errorColumns: number | null;
    signal: AbortSignal;
  }> = {},
): Promise<Answered> {
  let out = '';
  let err = '';
  const io: Io = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    input: async () => input,
    columns,
    colours,
    errorColumns,
  };
  const code = await runProgram(args, io, signal);
  return { code, out, err };
}

/** The same with nothing on standard input. */
export function cli(...args: readonly string[]): Promise<Answered> {
  return inProcess(args);
}
