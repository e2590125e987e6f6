import type { Model } from '../engine/model/model.ts';
import { EspalierError, throwIfAborted } from '../errors.ts';
import { defined } from '../options/defined.ts';
import { whole } from '../options/rules.ts';
import { type AuditOptions, type AuditSequence, auditEntropy, auditOptions } from '../prune/entropy/audit.ts';
import { auditPage } from '../prune/entropy/page.ts';
import { defineCommand, type Values } from './shared/command.ts';
import {
  bosArgument,
  bosOf,
  jsonArgument,
  modelArgument,
  openArguments,
  openOptionsOf,
  openWithProgress,
  promptArgument,
  promptOf,
} from './shared/common.ts';
import {
  DATA_FLAGS,
  dataArguments,
  dataOptionsOf,
  encoderOf,
  openDataWithProgress,
  sequenceOptionsOf,
} from './shared/data-flags.ts';
import { auditLines } from './shared/entropy-lines.ts';
import { optionFlags } from './shared/flags.ts';
import { Progress } from './shared/format.ts';
import { LogFile } from './shared/log-file.ts';

const entropies = optionFlags<AuditOptions>(auditOptions, {
  q: { value: 'Q', description: 'Order of the Tsallis entropy; 1 is Shannon’s' },
  cut: { value: 'S', description: 'High is what has an entropy above this; default 1.2' },
  percentile: { value: 'P', description: 'In place of a cut: this percentile of the entropies' },
  fallback: {
    description: 'The 80th percentile replaces a cut that separates too little (the default)',
    negative: 'The cut stays, whatever is above it',
  },
  top: { value: 'K', description: 'How many of the likeliest tokens --html and --json have' },
  addBos: null, // --bos
  specialTokens: null, // those of the data
  signal: null,
  onProgress: null,
});

/** Flags that mean nothing without --data. */
const ONLY_DATA = [
  ...DATA_FLAGS.filter((flag) => !/^(?:data|prompt|chat|special-tokens)$/.test(flag)),
  'held-out',
  'seed',
  'examples',
];

const args = {
  model: modelArgument,
  ...dataArguments,
  prompt: {
    ...promptArgument,
    required: false,
    description: 'The text; - reads it from standard input. With --data: the template of prompts',
  },
  chat: { type: 'boolean', description: 'The text is a user’s message; of --data as when training', default: false },
  data: { ...dataArguments.data, required: false, description: `Audit examples: ${dataArguments.data.description}` },
  examples: { type: 'string', value: 'N', description: 'Of --data: only the first N', rule: whole(1) },
  bos: bosArgument,
  ...entropies.args,
  html: { type: 'string', value: 'FILE', description: 'Write the report as one HTML page, too' },
  ...openArguments,
  json: jsonArgument,
} as const;

type Given = Values<typeof args> & Readonly<Record<string, unknown>>;

export const auditCommand = defineCommand({
  meta: { name: 'audit', description: 'Which tokens of a text a model is uncertain about' },
  sections: { Data: ['data', ...ONLY_DATA] },
  args,
  run: async ({ args, io, signal }) => {
    const given = args as Given;
    check(given);
    const opening = openOptionsOf(args);
    const options = entropies.options(args);
    const text = given.data === undefined ? await promptOf(given.prompt!, io, signal) : '';
    const page = given.html === undefined ? null : await LogFile.open(given.html);
    const bar = new Progress({ label: 'auditing', total: 1, silent: given.json });
    let model: Model | undefined;
    try {
      model = await openWithProgress(given.model, { ...opening, signal }, given.json, io);
      const input =
        given.data === undefined ? await tokensOf(model, text, given, signal) : await examples(model, given, signal);
      const audit = await auditEntropy(model, input, {
        ...options,
        ...(typeof input === 'string' ? { ...bosOf(given.bos), ...specialOf(given) } : {}),
        signal,
        onProgress: (done, total) => bar.update(done / (total || 1)),
      });
      bar.end();
      await page?.write(auditPage(audit));
      if (page !== null && !given.json) io.err(`The report is in ${given.html}.\n`);
      io.out(given.json ? `${JSON.stringify(audit)}\n` : auditLines(audit, io.colours));
    } finally {
      bar.end();
      await model?.close();
      await page?.close();
    }
  },
});

/** @throws E_ARGUMENT */
function check({ prompt, data, bos, chat, ...rest }: Given): void {
  if (data === undefined && prompt === undefined) {
    throw new EspalierError('E_ARGUMENT', 'There has to be either --prompt or --data.', 'Give one of them.');
  }
  const alone = data === undefined ? ONLY_DATA.find((flag) => rest[flag] !== undefined) : undefined;
  if (alone !== undefined) {
    throw new EspalierError('E_ARGUMENT', `--${alone} is given without --data.`, 'Give --data, too, or leave it out.');
  }
  if (bos !== 'auto' && (chat || data !== undefined)) {
    const hint = 'Leave --bos out: the chat template, or what training does, says whether there is one.';
    throw new EspalierError('E_ARGUMENT', `--bos and --${chat ? 'chat' : 'data'} contradict each other.`, hint);
  }
}

/** What --special-tokens says; of a conversation they are text unless it is given. */
function specialOf(args: Given): { specialTokens?: boolean } {
  return defined({ specialTokens: sequenceOptionsOf(args).specialTokens });
}

async function tokensOf(model: Model, text: string, args: Given, signal: AbortSignal): Promise<string | number[]> {
  if (!args.chat) return text;
  const specialTokensInContent = specialOf(args).specialTokens ?? false;
  return model.encodeChat([{ role: 'user', content: text }], { specialTokensInContent, signal });
}

/** Examples as training sees them; the tokens that it would learn count. */
async function examples(model: Model, args: Given, signal: AbortSignal): Promise<AuditSequence[]> {
  const data = await openDataWithProgress(args.data!, { ...dataOptionsOf(args), signal }, args.json);
  try {
    const encoder = encoderOf(model, args);
    const from = data.heldOut.length > 0 ? data.heldOut : data.train;
    const list: AuditSequence[] = [];
    for (const index of from.subarray(0, args.examples ?? from.length)) {
      throwIfAborted(signal);
      const placed = await data.read(index);
      for (const { ids, learned } of await encoder.encode(placed)) list.push({ ids, learned, name: placed.place });
    }
    return list;
  } finally {
    await data.close();
  }
}
