import { divergence, indexOfLargest, logSoftmax } from '../../model/divergence.ts';
import { eachLogits } from '../../model/logits-of-rows.ts';
import type { LocalModel } from '../../model/model.ts';
import type { PlacedShots } from '../place/context.ts';
import type { LabelScores, RunBranches } from '../probe/label-probe.ts';
import type { Comparison } from '../types.ts';
import { openPlainText } from './plain-text.ts';
import type { QueryRun, Task } from './query-run.ts';

/** The reused answer's first logits, and for labels its scores, against those of the plain text of the same shots. */
export async function compareFull(
  { model, trie }: Task,
  run: QueryRun,
  shots: number,
  reused: Pick<LabelScores, 'logits'> & Partial<LabelScores>,
): Promise<Comparison> {
  const started = performance.now();
  const text = await openPlainText(model, run.textOf(shots), run.signal);
  try {
    const full = trie
      ? (await run.scoresBehind(text.run, [shots])).scores[0]!
      : { logits: await logitsBehind(model, text.run, run.ids, shots), best: null };
    return {
      divergence: divergence(logSoftmax(full.logits), logSoftmax(reused.logits)),
      sameToken: indexOfLargest(full.logits) === indexOfLargest(reused.logits),
      sameLabel: full.best === null ? null : full.best === reused.best,
      milliseconds: performance.now() - started,
    };
  } finally {
    text.close();
  }
}

/** Logits of the first answer token behind so many placed shots. */
export function firstLogits(
  model: LocalModel,
  placed: PlacedShots,
  run: QueryRun,
  shots: number,
): Promise<Float32Array> {
  return logitsBehind(model, (list, use) => placed.branches(list, use, run.signal), run.ids, shots);
}

function logitsBehind(
  model: LocalModel,
  run: RunBranches,
  ids: readonly number[],
  shots: number,
): Promise<Float32Array> {
  return run([{ ids, shots }], async (hidden, [branch]) => {
    let row: Float32Array | null = null;
    await eachLogits(model.decoder, hidden, [branch!.first + branch!.count - 1], (_, logits) => {
      row = logits;
    });
    return row!;
  });
}
