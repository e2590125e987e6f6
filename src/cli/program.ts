import { EspalierError } from '../errors.ts';
import { visibleText } from '../model/text/visible.ts';
import { cacheCommand } from './cache.ts';
import { generateCommand } from './generate.ts';
import { growCommand } from './grow.ts';
import { inspectCommand } from './inspect.ts';
import { mergeCommand } from './merge.ts';
import { scoreCommand } from './score.ts';
import { commandOf, parseArguments } from './shared/arguments.ts';
import { type Command, defineCommand } from './shared/command.ts';
import { inFlags } from './shared/flags.ts';
import { helpOf, wrap } from './shared/help.ts';
import type { Io } from './shared/io.ts';

export const VERSION = '0.1.0';

export const program: Command = defineCommand({
  meta: { name: 'espalier', description: 'Adapt pretrained language models anywhere JavaScript runs' },
  subCommands: {
    generate: generateCommand,
    score: scoreCommand,
    inspect: inspectCommand,
    grow: growCommand,
    merge: mergeCommand,
    // on demand: most commands need nothing of it
    train: () => import('./train.ts').then(({ trainCommand }) => trainCommand),
    prune: () => import('./prune.ts').then(({ pruneCommand }) => pruneCommand),
    rollback: () => import('./rollback.ts').then(({ rollbackCommand }) => rollbackCommand),
    export: () => import('./export.ts').then(({ exportCommand }) => exportCommand),
    report: () => import('./report.ts').then(({ reportCommand }) => reportCommand),
    audit: () => import('./audit.ts').then(({ auditCommand }) => auditCommand),
    show: () => import('./show.ts').then(({ showCommand }) => showCommand),
    eval: () => import('./eval.ts').then(({ evalCommand }) => evalCommand),
    cache: cacheCommand,
    doctor: () => import('./doctor.ts').then(({ doctorCommand }) => doctorCommand),
  },
});

/** Exit codes: what was asked for cannot be, and what was asked for failed. */
const USAGE = 2;
const FAILED = 1;

/**
 * Runs one command line. Errors go to `err` as code, sentence and advice, or with `--json` to `out` as an object.
 * @returns the exit code: 0, 2 for what is wrong with the command line (E_ARGUMENT), 1 for any other failure
 */
export async function runProgram(words: readonly string[], io: Io, signal: AbortSignal): Promise<number> {
  const end = words.indexOf('--');
  const json = (end < 0 ? words : words.slice(0, end)).includes('--json');
  let specs: Command['args'];
  let exit = 0;
  const fail = (): void => {
    exit = FAILED;
  };
  try {
    // `help COMMAND` is COMMAND --help
    const asked = words[0] === 'help' ? [...words.slice(1), '--help'] : words;
    const { command, path, rest } = await commandOf(program, asked);
    specs = command.args;
    const { args, request } = parseArguments(path, command.args ?? {}, rest);
    if (request === 'version') io.out(`${VERSION}\n`);
    else if (request === 'help') io.out(await helpOf(command, path, io.columns));
    else if (!command.run) {
      io.out(await helpOf(command, path, io.columns));
      return USAGE;
    } else await command.run({ args, io, signal, fail });
    return exit;
  } catch (error) {
    if (!(error instanceof EspalierError)) throw error;
    const { code, message, hint } = inFlags(error, specs ?? {});
    if (json) io.out(`${JSON.stringify({ error: { code, message, hint } })}\n`);
    else io.err(`${onLines(visibleText(`${code}: ${message} ${hint}`), io.errorColumns)}\n`);
    return code === 'E_ARGUMENT' ? USAGE : FAILED;
  }
}

/** Broken between words for a terminal; one line for a file or a program. */
function onLines(sentence: string, columns: number | null): string {
  return columns === null ? sentence : wrap(sentence, Math.max(20, columns), '').join('\n');
}
