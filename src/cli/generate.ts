import { EspalierError } from '../errors.ts';
import { batchOptions } from '../model/generate/batch.ts';
import { type GenerateOptions, generateOptions } from '../model/generate/options.ts';
import type { PromptOptions } from '../model/options.ts';
import type { Prompt } from '../model/prompt.ts';
import { words } from '../options/rules.ts';
import { defineCommand } from './shared/command.ts';
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
import { optionFlags } from './shared/flags.ts';
import { counted } from './shared/format.ts';
import { generateBatch } from './shared/generate-batch.ts';
import { readPrompts } from './shared/prompts.ts';

const generation = optionFlags<GenerateOptions & PromptOptions>(generateOptions, {
  maxTokens: { alias: 'n', value: 'N', description: 'Most tokens to generate' },
  temperature: { alias: 't', value: 'T', description: 'Of sampling; 0 is greedy' },
  topK: { value: 'K', description: 'Keep the K likeliest tokens; 0: all' },
  topP: { value: 'P', description: 'Keep the likeliest tokens up to this mass' },
  minP: { value: 'P', description: 'Keep tokens at least this many times as likely as the likeliest' },
  repetitionPenalty: { value: 'R', description: 'Above 1: tokens seen before become less likely' },
  seed: { value: 'N', description: 'Of the random draws' },
  stop: { value: 'TEXT', description: 'A text that ends what is generated', each: words },
  specialTokens: {
    description: 'Names of special tokens in the prompt are those tokens (without --chat they are anyway)',
    negative: 'They are the letters that they are made of (with --chat they are anyway)',
  },
  stopAtEos: null, // --ignore-eos
  showSpecialTokens: null, // the same
  addBos: null, // --bos
  chat: null, // --chat, --special-tokens
  signal: null,
});

export const generateCommand = defineCommand({
  meta: { name: 'generate', description: 'Continue a text' },
  args: {
    model: modelArgument,
    prompt: { ...promptArgument, required: false },
    prompts: {
      type: 'string',
      value: 'FILE',
      description: 'Continue each line of a file, or of a .jsonl file each text or { "prompt": …, options }, at once',
    },
    batch: { type: 'string', value: 'N', description: 'Of --prompts: most at once', rule: batchOptions.batch },
    ...generation.args,
    'ignore-eos': {
      type: 'boolean',
      description: 'Go on after end-of-text tokens, and show special tokens',
      default: false,
    },
    chat: { type: 'boolean', description: 'The prompt is a user’s message', default: false },
    bos: bosArgument,
    ...openArguments,
    json: { ...jsonArgument, description: 'Print one JSON object, of --prompts a line each, and nothing else' },
  },
  run: async ({ args, io, signal, fail }) => {
    const { specialTokens, ...options } = generation.options(args);
    const special = specialTokens === undefined ? {} : { specialTokens };
    const conversation = { chat: { specialTokensInContent: specialTokens ?? false } };
    const opening = openOptionsOf(args);
    if (args.chat && args.bos !== 'auto') {
      const hint = 'Leave --bos out: the chat template says whether there is one.';
      throw new EspalierError('E_ARGUMENT', '--chat and --bos contradict each other.', hint);
    }
    const ignore = args['ignore-eos'];
    if ((args.prompt === undefined) === (args.prompts === undefined) || (args.batch && !args.prompts)) {
      const hint = 'Give one of them; --batch goes with --prompts.';
      throw new EspalierError('E_ARGUMENT', 'There has to be either --prompt or --prompts.', hint);
    }
    const items = args.prompts === undefined ? null : await readPrompts(args.prompts, io, signal);
    const prompt = await promptOf(args.prompt ?? '', io, signal);
    const started = performance.now();
    const model = await openWithProgress(args.model, { ...opening, signal }, args.json, io);
    const loadMilliseconds = performance.now() - started;
    const asked = (text: string): Prompt => (args.chat ? [{ role: 'user', content: text }] : text);
    const common = {
      ...options,
      ...(args.chat ? conversation : { ...special, ...bosOf(args.bos) }),
      stopAtEos: !ignore,
      showSpecialTokens: ignore,
      signal,
    };
    try {
      if (items) {
        const all = items.map(({ line, item }) => ({
          line,
          item: typeof item.prompt === 'string' ? { ...item, prompt: asked(item.prompt) } : item,
        }));
        const given = { ...common, ...(args.batch !== undefined && { batch: args.batch }) };
        if (!(await generateBatch({ model, prompts: all, options: given, json: args.json, io }))) fail();
        return;
      }
      const generated = model.generate(asked(prompt), common);
      if (!args.json) {
        const head = args.chat ? '' : prompt;
        let begun = false;
        try {
          for await (const token of generated) {
            // only now: a prompt that is refused is not printed
            io.out(begun ? token.text : head + token.text);
            begun = true;
          }
          if (!begun) io.out(head);
          begun = true;
        } finally {
          // what is said next stands on a line of its own
          if (begun) io.out('\n');
        }
      }
      const { text, tokens, finishReason, timings } = await generated.result();
      if (args.json) {
        io.out(`${JSON.stringify({ text, tokens, finishReason, timings: { loadMilliseconds, ...timings } })}\n`);
      } else {
        const prefill = `${counted(timings.promptTokens, 'token')} read at ${timings.prefillTokensPerSecond.toFixed(1)} tokens/s`;
        // the first token comes with the prompt: of one alone there is no speed
        const speed = timings.generatedTokens > 1 ? ` at ${timings.decodeTokensPerSecond.toFixed(1)} tokens/s` : '';
        const decode = `${timings.generatedTokens} written${speed}`;
        io.err(`\n${prefill}, ${decode} (${Object.values(model.description).join(', ')})\n`);
      }
    } finally {
      await model.close();
    }
  },
});
