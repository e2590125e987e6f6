import { type Device, STAT_NUMBERS, type Tensor } from '../../../device/device.ts';
import { type FusedDevice, fusedOf } from '../../../device/fused-device.ts';
import { DRAW_FIELDS, DRAW_KIND, DRAW_RULE, MOST_LISTED } from '../../../device/webgpu/draw-rule.ts';
import { uniform } from '../../../random.ts';
import { checkLogitStats } from '../../finite.ts';
import { statsBuffers } from '../../logit-stats.ts';
import { attempt, type Draw, drawEach, isPlain, type Outcome } from '../draw.ts';
import type { Sampler } from '../sampler.ts';

/** Whether the device can draw what is asked for, without the program: no penalty, which asks what was seen, and no top-k beyond what is listed. */
export function drawsAhead(device: Device, { sampler }: Draw): boolean {
  if (isPlain(sampler)) return true;
  if (fusedOf(device) === null) return false;
  const { topK, repetitionPenalty } = sampler.options;
  return repetitionPenalty === 1 && topK <= MOST_LISTED;
}

/**
 * As `drawEach`, and the tokens stay on the device, too: a pass may begin with them before they are read.
 * @param ids i32 [draws]: gets them; -1 where what the device listed did not prove the token, which the outcome then has of the full row
 */
export async function drawAhead(
  device: Device,
  logits: Tensor,
  draws: readonly Draw[],
  ids: Tensor,
): Promise<Outcome[]> {
  const fused = fusedOf(device);
  if (fused === null || draws.every(({ sampler }) => isPlain(sampler))) return drawEach(device, logits, draws, ids);
  const [rows, vocabSize] = [draws.length, logits.shape[1]!];
  const stats = statsBuffers(device, rows);
  device.logitStats(logits, null, 1, stats.numbers, stats.places);
  const drawn = device.scratch('f32', [rows]);
  const counts = draws.map(({ sampler }) => listedOf(sampler, vocabSize));
  const rules = device.scratch('f32', [rows, DRAW_FIELDS]);
  device.write(rules, rulesOf(draws, counts));
  const listed = list(fused, logits, counts);
  fused.drawRows({ logits, ...stats, rules, listed, ids, drawn });
  // what is listed proves top-k; whose tokens it need not prove are kept for the program
  const kept = draws.some(({ sampler: { options } }, row) => counts[row]! > 0 && options.topK === 0)
    ? device.tensor('f32', [rows, vocabSize])
    : null;
  try {
    if (kept) device.copyRows(logits, kept, 0);
    const got = await device.read([stats.numbers, ids, drawn]);
    const [numbers, tokens, values] = got as [Float32Array, Int32Array, Float32Array];
    const own = (row: number) => numbers.subarray(STAT_NUMBERS * row, STAT_NUMBERS * (row + 1));
    const outcomes = draws.map((_, row): Outcome | null =>
      attempt(() => {
        checkLogitStats(own(row));
        const id = tokens[row]!;
        return id < 0 ? null : { id, logit: values[row]!, own: own(row) };
      }),
    );
    const open = [...outcomes.keys()].filter((row) => outcomes[row] === null);
    const full = open.length > 0 ? await device.read(open.map((row) => device.rows(kept!, row, 1))) : [];
    for (const [i, row] of open.entries()) {
      const { sampler, count, seen } = draws[row]!;
      outcomes[row] = attempt(() => {
        const id = sampler.sampleFull(full[i] as Float32Array, count, seen);
        return { id, logit: full[i]![id]!, own: own(row) };
      });
    }
    return outcomes as Outcome[];
  } finally {
    kept?.dispose();
  }
}

/** How many of the likeliest tokens a row's draw wants listed; 0: none. */
function listedOf(sampler: Sampler, vocabSize: number): number {
  if (isPlain(sampler)) return 0;
  const { topP, minP } = sampler.options;
  const wanted = sampler.candidatesWanted || (topP < 1 || minP > 0 ? MOST_LISTED : 0); // nobody knows how many top-p keeps
  return Math.min(vocabSize, wanted);
}

function list(device: FusedDevice, logits: Tensor, counts: readonly number[]) {
  const count = Math.max(...counts);
  if (count === 0) return null;
  const [values, places] = [
    device.scratch('f32', [counts.length, count]),
    device.scratch('i32', [counts.length, count]),
  ];
  for (const [row, own] of counts.entries()) {
    if (own > 0)
      device.topK(device.rows(logits, row, 1), count, device.rows(values, row, 1), device.rows(places, row, 1));
  }
  return { values, places };
}

function rulesOf(draws: readonly Draw[], counts: readonly number[]): Float32Array {
  const rules = new Float32Array(DRAW_FIELDS * draws.length);
  for (const [row, { sampler, count }] of draws.entries()) {
    if (isPlain(sampler)) continue;
    const { temperature, topK, topP, minP, seed } = sampler.options;
    const values: Record<keyof typeof DRAW_RULE, number> = {
      kind: counts[row]! > 0 ? DRAW_KIND.listed : DRAW_KIND.whole,
      // below that nothing but the likeliest has any weight in f32
      inverse: 1 / Math.max(1e-8, temperature),
      // rounded down: 1 is never drawn
      uniform: Math.floor(uniform(seed, count) * 2 ** 24) / 2 ** 24,
      topP,
      minP,
      count: counts[row]!,
      limited: topK > 0 ? 1 : 0,
    };
    for (const [name, field] of Object.entries(DRAW_RULE)) {
      rules[DRAW_FIELDS * row + field] = values[name as keyof typeof DRAW_RULE];
    }
  }
  return rules;
}
