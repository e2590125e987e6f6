import { divergence, logSoftmax } from '../model/divergence.ts';
import type { Arm } from './arms.ts';
import { BlockSparse } from './block-sparse.ts';
import { type LabelScores, scoreLabels } from './plain.ts';
import { labelOf, queryIds, roomy } from './prompts.ts';
import { recorded } from './recorded.ts';
import type { Setting } from './setting.ts';
import type { Answered, Answerer } from './types.ts';

/**
 * The random shots of other fixed arms, in blocks. All blocks are encoded before the first item, and that item says how long it took.
 * @throws E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED
 */
export async function openDbsa(
  { shots: count, block, chosen }: Extract<Arm, { kind: 'dbsa' }>,
  setting: Setting,
): Promise<Answerer> {
  const { model, options, random, shots, trie } = setting;
  const { instruction, storage, signal } = options;
  const byId = new Map(shots.map((shot) => [shot.id, shot]));
  const wanted = random.slice(0, count).map((id) => byId.get(id)!);
  const groups = Array.from({ length: Math.ceil(count / block) }, (_, b) => wanted.slice(b * block, (b + 1) * block));
  const started = performance.now();
  const sparse = await BlockSparse.create(model, groups, {
    ...{ instruction, storage, signal },
    onProgress: (done, total) => setting.preparing('encoding', done, total),
  });
  let encodeMilliseconds = performance.now() - started;
  return {
    answer: async (input, compare) => {
      const asked = performance.now();
      const blocks = sparse.choose(input, chosen);
      const cache = await sparse.place(blocks);
      const reused = cache.length;
      const before = performance.now() - asked;
      const scores = await scoreLabels(model.decoder, cache, queryIds(setting, input), trie, signal);
      const encoded = encodeMilliseconds;
      const ids = sparse.shots(blocks).map(({ id }) => id);
      encodeMilliseconds = 0;
      return {
        label: labelOf(setting, scores),
        shots: ids.length,
        firstMilliseconds: before + scores.firstMilliseconds,
        milliseconds: before + scores.milliseconds,
        encodeMilliseconds: encoded,
        forwarded: scores.forwarded,
        reused,
        ...recorded(setting.labels, scores.probabilities, ids),
        ...(compare && (await compareFull(setting, sparse.tokens(blocks), input, scores))),
      };
    },
    close: () => sparse.close(),
  };
}

/** Against full attention over the text of the same blocks. */
async function compareFull(
  setting: Setting,
  prefix: readonly number[],
  input: string,
  scores: LabelScores,
): Promise<Pick<Answered, 'divergence' | 'agrees'>> {
  const { model, options, trie } = setting;
  const cache = roomy(model.decoder);
  try {
    const ids = [...prefix, ...queryIds(setting, input)];
    const full = await scoreLabels(model.decoder, cache, ids, trie, options.signal);
    return {
      divergence: divergence(logSoftmax(full.logits), logSoftmax(scores.logits)),
      agrees: labelOf(setting, full) === labelOf(setting, scores),
    };
  } finally {
    cache.dispose();
  }
}
