import { SequenceEncoder } from '../datasets/training/encode.ts';
import { SequenceStream } from '../datasets/training/stream.ts';
import type { TrainingSequence } from '../datasets/training/types.ts';
import type { Model } from '../engine/model/model.ts';
import { type Perplexity, perplexity, type TextLogProbability } from '../evaluate/scores/perplexity.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument, openArguments, openOptionsOf, openWithProgress } from './shared/common.ts';
import { dataArguments, dataOptionsOf, openDataWithProgress, sequenceOptionsOf } from './shared/data-flags.ts';
import { formatTable, Progress } from './shared/format.ts';

/** Sequences that are scored together. */
const TOGETHER = 32;

export const evalPerplexityCommand = defineCommand({
  meta: { name: 'ppl', description: 'Perplexity of a model on texts, or on answers behind their prompts' },
  args: { model: modelArgument, ...dataArguments, ...openArguments, json: jsonArgument },
  run: async ({ args, io, signal }) => {
    const opening = openOptionsOf(args);
    const options = dataOptionsOf(args);
    const data = await openDataWithProgress(args.data, { ...options, signal }, args.json);
    const bar = new Progress({ label: 'scoring', total: 1, silent: args.json });
    try {
      const model = await openWithProgress(args.model, { ...opening, signal }, args.json, io);
      try {
        const { name, config, eosIds, eosId } = model;
        const encoder = new SequenceEncoder(
          {
            name,
            config,
            eosIds,
            tokenizer: { eosId },
            encode: (text, given) => model.encode(text, given),
            encodeChat: (messages, given) => model.encodeChat(messages, given),
          },
          sequenceOptionsOf(args),
        );
        // what is held out, where a share is
        const examples = data.heldOut.length > 0 ? data.heldOut : data.train;
        const stream = new SequenceStream(data, examples, encoder, { seed: 0, shuffle: false, epochs: 1 });
        const texts: TextLogProbability[] = [];
        for (;;) {
          const some = await stream.next(TOGETHER, signal);
          if (some.length === 0) break;
          texts.push(...(await scored(model, some, signal)));
          bar.update(stream.state.done / examples.length);
        }
        bar.end();
        const found = perplexity(texts);
        io.out(args.json ? `${JSON.stringify({ ...found, sequences: texts.length })}\n` : `${described(found)}\n`);
      } finally {
        await model.close();
      }
    } finally {
      bar.end();
      await data.close();
    }
  },
});

/** The learned tokens of sequences and what the model gives them. */
async function scored(
  model: Model,
  sequences: readonly TrainingSequence[],
  signal: AbortSignal,
): Promise<TextLogProbability[]> {
  const all = await model.scoreBatch(
    sequences.map(({ ids }) => ids),
    { signal },
  );
  return Promise.all(
    sequences.map(async ({ learned }, i) => {
      const counted = all[i]!.filter((_, t) => learned[t] === 1);
      const text = await model.decode(
        counted.map(({ id }) => id),
        { continues: true },
      );
      return { logProbability: counted.reduce((sum, { logprob }) => sum + logprob!, 0), tokens: counted.length, text };
    }),
  );
}

function described(found: Perplexity): string {
  const { perToken, perWord, perByte, crossEntropy, bitsPerByte, tokens, words, bytes } = found;
  const rows = [
    ['token', perToken.toFixed(4), tokens, `${crossEntropy.toFixed(4)} nats`],
    ['word', perWord.toPrecision(6), words, ''],
    ['byte', perByte.toFixed(4), bytes, `${bitsPerByte.toFixed(4)} bits`],
  ];
  return formatTable(['a', 'perplexity', 'count', 'mean'], rows);
}
