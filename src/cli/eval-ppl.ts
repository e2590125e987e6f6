import { checkLengths, SequenceStream } from '../datasets/training/stream.ts';
import type { TrainingSequence } from '../datasets/training/types.ts';
import type { Model } from '../engine/model/model.ts';
import { type Perplexity, perplexity, type TextLogProbability } from '../evaluate/scores/perplexity.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument, openArguments, openOptionsOf, openWithProgress } from './shared/common.ts';
import { DATA_FLAGS, dataArguments, dataOptionsOf, encoderOf, openDataWithProgress } from './shared/data-flags.ts';
import { formatTable, Progress } from './shared/format.ts';

/** Sequences that are scored together. */
const TOGETHER = 32;

export const evalPerplexityCommand = defineCommand({
  meta: { name: 'ppl', description: 'Perplexity of a model on texts, or on answers behind their prompts' },
  sections: { Data: [...DATA_FLAGS, 'held-out', 'seed'] },
  args: { model: modelArgument, ...dataArguments, ...openArguments, json: jsonArgument },
  run: async ({ args, io, signal }) => {
    const opening = openOptionsOf(args);
    const options = dataOptionsOf(args);
    const data = await openDataWithProgress(args.data, { ...options, signal }, args.json);
    const bar = new Progress({ label: 'scoring', total: 1, silent: args.json });
    try {
      const model = await openWithProgress(args.model, { ...opening, signal }, args.json, io);
      try {
        const encoder = encoderOf(model, args);
        // what is held out, where a share is
        const examples = data.heldOut.length > 0 ? data.heldOut : data.train;
        await checkLengths(data, examples, encoder, { signal });
        const stream = new SequenceStream(data, examples, encoder, { seed: 0, shuffle: false, epochs: 1 });
        const counted = new Map<number, Counted>();
        let sequences = 0;
        for (;;) {
          const some = await next(stream, signal);
          if (some.length === 0) break;
          await score(model, some, counted, signal);
          sequences += some.length;
          bar.update(stream.state.done / examples.length);
        }
        bar.end();
        const texts: TextLogProbability[] = [];
        for (const { logProbability, ids } of counted.values()) {
          const text = await model.decode(ids, { continues: true });
          texts.push({ logProbability, tokens: ids.length, text });
        }
        const found = perplexity(texts);
        io.out(args.json ? `${JSON.stringify({ ...found, sequences })}\n` : `${described(found)}\n`);
      } finally {
        await model.close();
      }
    } finally {
      bar.end();
      await data.close();
    }
  },
});

/** Tokens of an example that count, and what the model gives them: a word that lies across two blocks of a text is one, and so is a character. */
interface Counted {
  logProbability: number;
  readonly ids: number[];
}

interface Taken {
  readonly sequence: TrainingSequence;
  /** The how-manyth it is of. */
  readonly example: number;
}

async function next(stream: SequenceStream, signal: AbortSignal): Promise<Taken[]> {
  const some: Taken[] = [];
  while (some.length < TOGETHER) {
    const [sequence] = await stream.next(1, signal);
    if (sequence === undefined) break;
    const { done, taken } = stream.state;
    some.push({ sequence, example: taken === 0 ? done - 1 : done });
  }
  return some;
}

/** Adds the learned tokens of sequences to those of their examples. */
async function score(
  model: Model,
  some: readonly Taken[],
  counted: Map<number, Counted>,
  signal: AbortSignal,
): Promise<void> {
  const scored = await model.scoreBatch(
    some.map(({ sequence }) => sequence.ids),
    { signal },
  );
  for (const [i, { sequence, example }] of some.entries()) {
    const own = counted.get(example) ?? { logProbability: 0, ids: [] };
    counted.set(example, own);
    for (const [t, { id, logprob }] of scored[i]!.entries()) {
      if (sequence.learned[t] !== 1) continue;
      own.logProbability += logprob!;
      own.ids.push(id);
    }
  }
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
