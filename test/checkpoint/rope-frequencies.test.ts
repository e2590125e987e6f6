import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withContext } from '../../src/checkpoint/config/context-length.ts';
import { ConfigKeys } from '../../src/checkpoint/config/keys.ts';
import { ropeFromConfig } from '../../src/checkpoint/rope/config.ts';
import { ropeFrequencies } from '../../src/checkpoint/rope/frequencies.ts';
import type { ModelConfig, RopeConfig } from '../../src/checkpoint/types.ts';
import type { EspalierError } from '../../src/errors.ts';
import { fixture } from '../model/shared-files.ts';

interface Case {
  readonly config: Record<string, unknown> & {
    head_dim: number;
    max_position_embeddings: number;
    /** Of a text, where frequencies depend on it. */
    contextLength?: number;
  };
  readonly inverseFrequencies: readonly number[];
  readonly attentionFactor: number;
}

const cases: Case[] = await fixture('rope.json');
// some rotate a part of each head, which our own configuration may
const ropeOf = ({ config }: Case): RopeConfig => {
  const context = {
    headDim: config.head_dim,
    maxPositions: config.max_position_embeddings,
    theta: 10_000,
    partial: true,
  };
  return ropeFromConfig(new ConfigKeys(config, 'config.json'), context, 'config.json');
};
const read = ({ config }: Case): RopeConfig => {
  const maxPositions = config.max_position_embeddings;
  const rope = ropeOf({ config } as Case);
  return withContext({ rope, maxPositions } as ModelConfig, config.contextLength).rope;
};

for (const [i, expected] of cases.entries()) {
  const rope = read(expected);
  test(`case ${i} (${rope.scaling.type}, base ${rope.theta}, ${rope.rotaryDims} dimensions) as transformers`, () => {
    const { inverseFrequencies, attentionFactor } = ropeFrequencies(rope);
    assert.is(inverseFrequencies.length, expected.inverseFrequencies.length);
    let same = 0;
    let worst = 0;
    expected.inverseFrequencies.forEach((value, j) => {
      if (inverseFrequencies[j] === value) same++;
      worst = Math.max(worst, Math.abs(inverseFrequencies[j]! / value - 1));
    });
    // torch's f32 power is good to an ulp or so, not correctly rounded
    assert.ok(worst < 5e-7, `off by ${worst}`);
    assert.ok(Math.abs(attentionFactor - expected.attentionFactor) < 1e-12);
    console.log(`  ${same} of ${inverseFrequencies.length} to the bit, worst relative ${worst.toExponential(1)}`);
  });
}

test('frequency divisors of a GGUF divide', () => {
  const plain = read(cases[0]!);
  const divisors = Float32Array.from({ length: plain.rotaryDims / 2 }, (_, j) => 1 + j);
  const { inverseFrequencies } = ropeFrequencies({ ...plain, frequencyDivisors: divisors });
  ropeFrequencies(plain).inverseFrequencies.forEach((value, j) => {
    assert.is(inverseFrequencies[j], Math.fround(value / (1 + j)));
  });
});

test('a context that cannot be', () => {
  const [plain, dynamic] = [cases[0]!, cases.at(-2)!].map((some) => {
    return { rope: ropeOf(some), maxPositions: some.config.max_position_embeddings } as ModelConfig;
  });
  assert.is(withContext(plain!, undefined), plain);
  assert.is(withContext(plain!, 100).maxPositions, 100);
  assert.equal(withContext(plain!, 100).rope, plain!.rope);
  // twice as many positions, by its factor
  assert.is(withContext(dynamic!, 8192).maxPositions, 8192);
  for (const [config, length] of [
    [plain!, plain!.maxPositions + 1],
    [plain!, 0],
    [plain!, 1.5],
    [dynamic!, 8193],
  ] as const) {
    assert.throws(
      () => withContext(config, length),
      (error: EspalierError) => error.code === 'E_ARGUMENT',
    );
  }
});

test.run();
