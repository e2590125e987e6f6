import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EspalierError } from '../../src/errors.ts';
import type { SamplingOptions } from '../../src/model/generate/options.ts';
import { type Candidates, Sampler } from '../../src/model/generate/sampler.ts';
import { uniform } from '../../src/random.ts';
import { fixture } from './shared-files.ts';

interface Row {
  logits: number[];
  seen: number[];
  cases: { options: SamplingOptions; ids: number[]; probabilities: number[] }[];
}
const { rows } = (await fixture('sampling.json')) as { rows: Row[] };

/** The n likeliest tokens of a row, as a device reads them. */
function topOf(logits: Float32Array, n: number): Candidates {
  const ids = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const kept = Int32Array.from(ids.slice(0, n));
  return { ids: kept, logits: Float32Array.from(kept, (id) => logits[id]!) };
}

function randomRow(size: number, row: number, scale: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform(row, i, 1)));
    return scale * radius * Math.cos(2 * Math.PI * uniform(row, i, 2));
  });
}

test('what the options keep, and how likely it is, agrees with Hugging Face’s processors', () => {
  let worst = 0;
  for (const row of rows) {
    for (const { options, ids, probabilities } of row.cases) {
      const found = new Sampler(options).distribution(Float32Array.from(row.logits), new Set(row.seen));
      const byId = new Map(found.ids.map((id, i) => [id, found.probabilities[i]!]));
      assert.equal(
        [...byId.keys()].sort((a, b) => a - b),
        ids,
        JSON.stringify(options),
      );
      ids.forEach((id, i) => {
        worst = Math.max(worst, Math.abs(byId.get(id)! - probabilities[i]!));
      });
    }
  }
  console.log(`  worst difference of a probability: ${worst.toExponential(1)}`);
  assert.ok(worst < 1e-6);
});

test('draws follow the distribution', () => {
  const logits = randomRow(12, 3, 1.5);
  for (const options of [
    { temperature: 1 },
    { temperature: 0.7, topK: 6 },
    { temperature: 1.2, topP: 0.9 },
    { temperature: 1, minP: 0.05 },
  ]) {
    const { ids, probabilities } = new Sampler(options).distribution(logits);
    for (const bySeed of [true, false]) {
      const counts = new Map(ids.map((id) => [id, 0]));
      const n = 6000;
      for (let i = 0; i < n; i++) {
        const sampler = new Sampler({ ...options, seed: bySeed ? i : 1 });
        const id = sampler.sampleFull(logits, bySeed ? 5 : i);
        counts.set(id, counts.get(id)! + 1);
      }
      const chi = ids.reduce(
        (sum, id, i) => sum + (counts.get(id)! - n * probabilities[i]!) ** 2 / (n * probabilities[i]!),
        0,
      );
      const freedom = ids.length - 1;
      assert.is(counts.size, ids.length, 'nothing outside the kept tokens is drawn');
      // mean + 4 standard deviations
      assert.ok(chi < freedom + 4 * Math.sqrt(2 * freedom), `chi-square ${chi.toFixed(1)} over ${freedom}`);
    }
  }
});

test('where the top candidates answer, they answer as the full row does', () => {
  const variants: SamplingOptions[] = [
    {},
    { repetitionPenalty: 1.2 },
    { temperature: 0.8, topK: 5 },
    { temperature: 1.1, topK: 40, topP: 0.9 },
    { temperature: 1, topK: 20, topP: 0.95, minP: 0.05, repetitionPenalty: 1.3 },
    { temperature: 0.9, minP: 0.1 },
    { temperature: 0.9, minP: 0.1, repetitionPenalty: 1.1 },
  ];
  for (const options of variants) {
    let answered = 0;
    for (let seed = 0; seed < 200; seed++) {
      const logits = randomRow(300, seed, 3);
      if (seed % 5 === 0) for (let i = 0; i < 300; i++) logits[i] = Math.round(logits[i]!); // many ties
      const sampler = new Sampler({ ...options, seed });
      const seen = new Set(topOf(logits, 9).ids.filter((_, i) => i % 3 === 0));
      for (const n of [1, sampler.candidatesWanted, 300]) {
        const id = sampler.sampleTop(topOf(logits, n), 300, seed, seen);
        if (id === null) continue;
        if (n === sampler.candidatesWanted) answered++;
        assert.is(
          id,
          sampler.sampleFull(logits, seed, seen),
          `${JSON.stringify(options)}, seed ${seed}, ${n} candidates`,
        );
      }
    }
    assert.ok(answered > 150, `${JSON.stringify(options)}: ${answered} of 200 answered from the candidates`);
  }
});

test('the top candidates do not answer where they cannot', () => {
  const logits = randomRow(100, 1, 1);
  const nothing: [SamplingOptions, number][] = [
    [{ temperature: 1 }, 50],
    [{ temperature: 1, topP: 0.9 }, 50],
    [{ temperature: 1, topP: 0.9, minP: 0.5 }, 99],
    [{ temperature: 1, topK: 10 }, 9],
    [{ temperature: 1, minP: 0.01 }, 2],
    [{ temperature: 1, topK: 5, repetitionPenalty: 0.5 }, 50],
  ];
  for (const [options, n] of nothing) {
    assert.is(new Sampler(options).sampleTop(topOf(logits, n), 100, 0, new Set([99])), null, JSON.stringify(options));
  }
  // with every token among the candidates, only the mass of the row in its own order is missing
  for (const [options] of nothing) {
    const sampler = new Sampler(options);
    const seen = new Set([99]);
    const answered = sampler.sampleTop(topOf(logits, 100), 100, 3, seen);
    const alone = options.topK !== undefined || (options.topP === undefined && options.minP !== undefined);
    assert.is(answered, alone ? sampler.sampleFull(logits, 3, seen) : null);
  }
});

test('greedy takes the likeliest, of equals the lowest id', () => {
  const logits = Float32Array.of(1, 3, -2, 3, Number.NEGATIVE_INFINITY);
  assert.is(new Sampler().sampleFull(logits, 0), 1);
  assert.is(new Sampler({ repetitionPenalty: 1.5 }).sampleFull(logits, 0, new Set([1])), 3);
  assert.is(new Sampler({ temperature: 1, topK: 1 }).sampleFull(logits, 9), 1);
  assert.is(new Sampler().candidatesWanted, 1);
  assert.is(new Sampler({ temperature: 1, topP: 0.5 }).candidatesWanted, 0);
  for (let step = 0; step < 50; step++) assert.is.not(new Sampler({ temperature: 1 }).sampleFull(logits, step), 4);
});

test('options out of range and broken logits are refused', () => {
  const bad: SamplingOptions[] = [
    { temperature: -1 },
    { temperature: Number.NaN },
    { temperature: Number.POSITIVE_INFINITY },
    { topK: -1 },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.1 },
    { minP: -0.1 },
    { minP: 2 },
    { repetitionPenalty: 0 },
    { seed: 0.5 },
    { seed: -1 },
    { seed: 2 ** 53 },
    { topK: '5' as unknown as number },
  ];
  const refused = (error: unknown) => error instanceof EspalierError && error.code === 'E_ARGUMENT';
  for (const options of bad) assert.throws(() => new Sampler(options), refused, JSON.stringify(options));
  for (const row of [[], [Number.NaN, 1], [1, Number.NaN], [Number.NEGATIVE_INFINITY], [Number.POSITIVE_INFINITY, 1]]) {
    assert.throws(() => new Sampler({ temperature: 1 }).sampleFull(Float32Array.from(row), 0), refused, String(row));
  }
});

test('from a large vocabulary only what may be is drawn', () => {
  const logits = randomRow(150_000, 1, 2);
  const sorted = logits.slice().sort();
  for (const options of [{ temperature: 1 }, { temperature: 1, topK: 50 }, { temperature: 1, topP: 0.9 }]) {
    const sampler = new Sampler(options);
    const { ids } = sampler.distribution(logits);
    const least = sorted.at(-ids.length)!;
    const start = performance.now();
    const drawn = Array.from({ length: 5 }, (_, step) => sampler.sampleFull(logits, step));
    const each = (performance.now() - start) / drawn.length;
    console.log(`  150,000 logits, ${JSON.stringify(options)}: ${each.toFixed(1)} ms a token`);
    assert.is(ids.length < logits.length, Object.keys(options).length > 1);
    for (const id of drawn) assert.ok(logits[id]! >= least, `${id}: ${logits[id]} below ${least}`);
  }
});

test.run();
