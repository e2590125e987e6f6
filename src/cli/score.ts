import { defineCommand } from 'citty';
import {
  bosArgument,
  bosOf,
  command,
  exactArgument,
  jsonArgument,
  lanesArgument,
  lanesOf,
  modelArgument,
  openWithProgress,
} from './common.ts';
import { formatTable } from './format.ts';

export const scoreCommand = defineCommand({
  meta: { name: 'score', description: 'Log-probability and entropy at every position of a text' },
  args: {
    model: modelArgument,
    prompt: { type: 'string', alias: 'p', description: 'The text to score', required: true },
    bos: bosArgument,
    exact: exactArgument,
    lanes: lanesArgument,
    json: jsonArgument,
  },
  run: ({ args, cmd }) =>
    command({ args, cmd }, async (signal) => {
      const bos = bosOf(args.bos);
      const precision = args.exact ? 'exact' : 'int8';
      const lanes = lanesOf(args.lanes);
      const model = await openWithProgress(args.model, { precision, lanes, signal }, args.json);
      try {
        const scored = await model.score(args.prompt, { ...bos, signal });
        const tokens = scored.map(({ id, text, logprob, entropy }) => ({ id, text, logprob, entropy }));
        if (args.json) {
          process.stdout.write(`${JSON.stringify({ tokens })}\n`);
          return;
        }
        const rows = tokens.map((t) => [
          t.id,
          JSON.stringify(t.text),
          t.logprob?.toFixed(4) ?? '-',
          t.entropy.toFixed(4),
        ]);
        process.stdout.write(`${formatTable(['id', 'text', 'logprob', 'entropy after it'], rows)}\n`);
      } finally {
        await model.close();
      }
    }),
});
