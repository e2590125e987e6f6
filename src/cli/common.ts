import type { Model } from '../engine/model.ts';
import { type OpenOptions, open } from '../engine/open.ts';
import { EspalierError } from '../errors.ts';
import { formatBytes, Progress } from './format.ts';

/** Arguments that several commands share. */
export const modelArgument = {
  type: 'positional',
  description:
    'A model folder (config.json, model.safetensors, tokenizer.json), a .gguf file, or owner/name on the hub',
  required: true,
} as const;
export const exactArgument = {
  type: 'boolean',
  description: 'f32 activations for quantised weights (slower, exact)',
  default: false,
} as const;
export const lanesArgument = {
  type: 'string',
  description: 'Threads that compute; auto: all that there are',
  default: 'auto',
} as const;
export const jsonArgument = {
  type: 'boolean',
  description: 'Print one JSON object and nothing else',
  default: false,
} as const;
export const bosArgument = {
  type: 'string',
  description: 'Begin-of-text token: yes, no, or auto (as the tokenizer says)',
  default: 'auto',
} as const;

/** A numeric argument as the shell gave it. @throws E_ARGUMENT */
export function numberOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw new EspalierError('E_ARGUMENT', `--${name} is "${text}".`, 'Give a number.');
}

/** `--bos`. @throws E_ARGUMENT */
export function bosOf(text: string): { addBos?: boolean } {
  if (text === 'auto') return {};
  if (text === 'yes' || text === 'no') return { addBos: text === 'yes' };
  throw new EspalierError('E_ARGUMENT', `--bos is "${text}".`, 'Give yes, no or auto.');
}

/** `--lanes`; the range is checked where it is used. @throws E_ARGUMENT */
export function lanesOf(text: string): number | 'auto' {
  return text === 'auto' ? text : numberOf('lanes', text)!;
}

/** Opens a model with a progress bar on stderr, for what is downloaded and for what is loaded. */
export async function openWithProgress(target: string, options: OpenOptions, json: boolean): Promise<Model> {
  const downloading = new Progress({ label: 'downloading', total: 1, silent: json });
  const loading = new Progress({ label: 'loading', total: 1, silent: json });
  try {
    return await open(target, {
      ...options,
      onDownload: ({ overall: { loaded, total } }) => downloading.update(loaded / (total || 1), formatBytes(loaded)),
      onProgress: (done, total) => {
        downloading.end();
        loading.update(done / total, formatBytes(done));
      },
    });
  } finally {
    downloading.end();
    loading.end();
  }
}

/** What citty hands to `run`. */
interface Context {
  readonly args: { readonly _: readonly string[]; readonly json: boolean };
  readonly cmd: { readonly args?: unknown };
}

/** citty passes over options that it does not know, and a mistyped one must not. @throws E_ARGUMENT */
function refuseUnknown({ args, cmd }: Context): void {
  const known = new Set(['_']);
  let positionals = 0;
  for (const [name, { type, alias }] of Object.entries(cmd.args as Record<string, { type: string; alias?: string }>)) {
    if (type === 'positional') positionals++;
    known.add(name).add(name.replace(/-./g, (s) => s[1]!.toUpperCase()));
    if (alias !== undefined) known.add(alias);
  }
  const hint = 'Run the command with --help to see what it takes.';
  for (const name of Object.keys(args)) {
    if (known.has(name)) continue;
    throw new EspalierError('E_ARGUMENT', `There is no option ${name.length > 1 ? '--' : '-'}${name}.`, hint);
  }
  if (args._.length > positionals) {
    throw new EspalierError('E_ARGUMENT', `"${args._[positionals]}" belongs to no option.`, hint);
  }
}

/** Runs a command: errors go to stderr as code, sentence and advice, and the exit code is 1. Ctrl-C aborts. */
export async function command(context: Context, run: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const { json } = context.args;
  const controller = new AbortController();
  const interrupt = () => controller.abort(new Error('interrupted'));
  process.once('SIGINT', interrupt);
  try {
    refuseUnknown(context);
    await run(controller.signal);
  } catch (error) {
    process.exitCode = 1;
    if (!(error instanceof EspalierError)) throw error;
    if (json) {
      const { code, message, hint } = error;
      process.stdout.write(`${JSON.stringify({ error: { code, message, hint } })}\n`);
    } else process.stderr.write(`${error}\n`);
  } finally {
    process.removeListener('SIGINT', interrupt);
  }
}
