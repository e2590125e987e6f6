import { defineCommand } from 'citty';
import type { GenerateOptions } from '../model/generation.ts';
import {
  bosArgument,
  bosOf,
  command,
  exactArgument,
  jsonArgument,
  lanesArgument,
  lanesOf,
  modelArgument,
  numberOf,
  openWithProgress,
} from './common.ts';

export const generateCommand = defineCommand({
  meta: { name: 'generate', description: 'Continue a text' },
  args: {
    model: modelArgument,
    prompt: { type: 'string', alias: 'p', description: 'The text to continue', required: true },
    'max-tokens': { type: 'string', alias: 'n', description: 'Most tokens to generate', default: '256' },
    temperature: { type: 'string', alias: 't', description: '0 is greedy', default: '0' },
    'top-k': { type: 'string', description: 'Keep the k likeliest tokens' },
    'top-p': { type: 'string', description: 'Keep the likeliest tokens up to this mass' },
    'min-p': { type: 'string', description: 'Keep tokens this many times as likely as the likeliest' },
    'repetition-penalty': { type: 'string', description: 'Above 1: tokens seen before become less likely' },
    seed: { type: 'string', description: 'Of the random draws' },
    stop: { type: 'string', description: 'A string that ends the text' },
    'ignore-eos': {
      type: 'boolean',
      description: 'Go on after end-of-text tokens, and show special tokens',
      default: false,
    },
    chat: { type: 'boolean', description: 'The prompt is a user’s message', default: false },
    bos: bosArgument,
    exact: exactArgument,
    lanes: lanesArgument,
    json: jsonArgument,
  },
  run: ({ args, cmd }) =>
    command({ args, cmd }, async (signal) => {
      const given = {
        maxTokens: numberOf('max-tokens', args['max-tokens']),
        temperature: numberOf('temperature', args.temperature),
        topK: numberOf('top-k', args['top-k']),
        topP: numberOf('top-p', args['top-p']),
        minP: numberOf('min-p', args['min-p']),
        repetitionPenalty: numberOf('repetition-penalty', args['repetition-penalty']),
        seed: numberOf('seed', args.seed),
        stop: args.stop === undefined ? undefined : [args.stop],
      };
      const options = Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined)) as GenerateOptions;
      const ignore = args['ignore-eos'];
      const started = performance.now();
      const precision = args.exact ? 'exact' : 'int8';
      const lanes = lanesOf(args.lanes);
      const model = await openWithProgress(args.model, { precision, lanes, signal }, args.json);
      const loadMilliseconds = performance.now() - started;
      try {
        const prompt = args.chat ? [{ role: 'user', content: args.prompt }] : args.prompt;
        const generation = model.generate(prompt, {
          ...options,
          ...bosOf(args.bos),
          stopAtEos: !ignore,
          showSpecialTokens: ignore,
          signal,
        });
        if (!args.json) {
          if (!args.chat) process.stdout.write(args.prompt);
          for await (const token of generation) process.stdout.write(token.text);
          process.stdout.write('\n');
        }
        const { text, tokens, finishReason, timings } = await generation.result();
        if (args.json) {
          process.stdout.write(
            `${JSON.stringify({ text, tokens, finishReason, timings: { loadMilliseconds, ...timings } })}\n`,
          );
        } else {
          const prefill = `${timings.promptTokens} tokens read at ${timings.prefillTokensPerSecond.toFixed(1)} tokens/s`;
          const decode = `${timings.generatedTokens} written at ${timings.decodeTokensPerSecond.toFixed(1)} tokens/s`;
          process.stderr.write(`\n${prefill}, ${decode} (${Object.values(model.description).join(', ')})\n`);
        }
      } finally {
        await model.close();
      }
    }),
});
