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
import { formatTable } from './shared/format.ts';

export const scoreCommand = defineCommand({
  meta: { name: 'score', description: 'Log-probability and entropy at every position of a text' },
  args: {
    model: modelArgument,
    prompt: promptArgument,
    bos: bosArgument,
    ...openArguments,
    json: jsonArgument,
  },
  run: async ({ args, io, signal }) => {
    const opening = openOptionsOf(args);
    const prompt = await promptOf(args.prompt, io, signal);
    const model = await openWithProgress(args.model, { ...opening, signal }, args.json, io);
    try {
      const scored = await model.score(prompt, { ...bosOf(args.bos), signal });
      const tokens = scored.map(({ id, text, logprob, entropy }) => ({ id, text, logprob, entropy }));
      if (args.json) {
        io.out(`${JSON.stringify({ tokens })}\n`);
        return;
      }
      const rows = tokens.map((t) => [
        t.id,
        JSON.stringify(t.text),
        t.logprob?.toFixed(4) ?? '-',
        t.entropy.toFixed(4),
      ]);
      io.out(`${formatTable(['id', 'text', 'logprob', 'entropy after it'], rows)}\n`);
    } finally {
      await model.close();
    }
  },
});
