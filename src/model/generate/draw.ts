import { type Device, STAT, STAT_NUMBERS, STAT_PLACE, STAT_PLACES, type Tensor } from '../../device/device.ts';
import { checkLogitStats } from '../finite.ts';
import { statsBuffers } from '../logit-stats.ts';
import type { Sampler } from './sampler.ts';

/** A token with its log-probability and the entropy of the distribution that it was drawn from (temperature 1, no filters). */
export interface Drawn {
  readonly id: number;
  readonly logprob: number;
  readonly entropy: number;
}

/** How a token is drawn. */
export interface Draw {
  readonly sampler: Sampler;
  /** The how-manyth of its text it is. */
  readonly count: number;
  /** Tokens before it, for the repetition penalty. */
  readonly seen: ReadonlySet<number>;
}

/** What came of a row, or why nothing did. */
export type Outcome = { readonly drawn: Drawn } | { readonly error: unknown };

/**
 * Draws a token for each row of logits [draws, vocab]: one readback for all of them, and one more for those that need their full row.
 * @param likeliest i32 [draws]: gets the likeliest token of each row, on the device; null: nobody asks for them
 */
export async function drawEach(
  device: Device,
  logits: Tensor,
  draws: readonly Draw[],
  likeliest: Tensor | null = null,
): Promise<Outcome[]> {
  const [rows, vocabSize] = [draws.length, logits.shape[1]!];
  const stats = statsBuffers(device, rows);
  device.logitStats(logits, null, 1, stats.numbers, stats.places);
  if (likeliest) device.column(stats.places, STAT_PLACE.argmax, likeliest);
  const wanted = [stats.numbers, stats.places];
  const candidates = draws.map(({ sampler }, row) => {
    const k = isPlain(sampler) ? 0 : Math.min(vocabSize, sampler.candidatesWanted);
    if (k === 0) return null;
    const [values, ids] = [device.scratch('f32', [k]), device.scratch('i32', [k])];
    device.topK(rows === 1 ? logits : device.rows(logits, row, 1), k, values, ids);
    wanted.push(values, ids);
    return wanted.length - 2;
  });
  const got = await device.read(wanted);
  const [numbers, places] = got as [Float32Array, Int32Array];
  const outcomes = draws.map((draw, row): Outcome | null => {
    const at = candidates[row]!;
    const own = numbers.subarray(STAT_NUMBERS * row, STAT_NUMBERS * (row + 1));
    return attempt(() => {
      checkLogitStats(own);
      if (isPlain(draw.sampler)) {
        return { id: places[STAT_PLACES * row + STAT_PLACE.argmax]!, logit: own[STAT.max]!, own };
      }
      if (at === null) return null;
      const [values, ids] = [got[at] as Float32Array, got[at + 1] as Int32Array];
      const id = draw.sampler.sampleTop({ ids, logits: values }, vocabSize, draw.count, draw.seen);
      return id === null ? null : { id, logit: values[ids.indexOf(id)]!, own };
    });
  });
  const open = [...outcomes.keys()].filter((row) => outcomes[row] === null);
  if (open.length > 0) {
    const full = await device.read(open.map((row) => (rows === 1 ? logits : device.rows(logits, row, 1))));
    for (const [i, row] of open.entries()) {
      const { sampler, count, seen } = draws[row]!;
      outcomes[row] = attempt(() => {
        const id = sampler.sampleFull(full[i] as Float32Array, count, seen);
        const own = numbers.subarray(STAT_NUMBERS * row, STAT_NUMBERS * (row + 1));
        return { id, logit: full[i]![id]!, own };
      });
    }
  }
  return outcomes as Outcome[];
}

/** Whether the likeliest token is the answer. */
export function isPlain(sampler: Sampler): boolean {
  return sampler.greedy && sampler.options.repetitionPenalty === 1;
}

/** @param draw gives a token with its logit and its row's numbers; null: it cannot say */
export function attempt(draw: () => { id: number; logit: number; own: Float32Array } | null): Outcome | null {
  try {
    const got = draw();
    if (got === null) return null;
    const { id, logit, own } = got;
    return { drawn: { id, logprob: logit - own[STAT.logSumExp]!, entropy: own[STAT.shannon]! } };
  } catch (error) {
    return { error };
  }
}
