import * as assert from 'uvu/assert';
import type { ScoredToken } from '../../src/model/model.ts';
import { openLocal } from '../../src/open-local.ts';
import { Worst } from '../device/devices.ts';
import { modelTarget, readText } from '../files.ts';

/** Share of positions at which the likeliest token may be another: where two are as good as equally likely. */
const APART = 1e-3;

/**
 * Reads tokens of real text (docs/growing.md) on the CPU and on a GPU, both in exact arithmetic, and prints at how many positions the likeliest
 * next token is the same, and how far log-probabilities and entropies are apart. Then both write a greedy text.
 */
export async function compareDevices(path: string, positions: number): Promise<void> {
  const worst = new Worst();
  const target = await modelTarget(path);
  const text = await readText('docs/growing.md');
  const look = async (device: 'wasm' | 'webgpu') => {
    const model = await openLocal(target, { device, precision: 'exact' });
    assert.is(model.device.kind, device);
    const ids = model.encode(text).slice(0, positions);
    assert.is(ids.length, positions, 'a longer text is needed');
    const scored = await model.score(ids);
    const { tokens } = await model.generate('Once upon a time', { maxTokens: 16, temperature: 0 }).result();
    model.close();
    return { scored, written: tokens.map(({ id }) => id) };
  };
  const [cpu, gpu] = [await look('wasm'), await look('webgpu')];
  const apart = cpu.scored.filter(({ argmax }, i) => argmax !== gpu.scored[i]!.argmax).length;
  console.log(`  worst likeliest tokens: other ones at ${apart} of ${positions} positions`);
  const most = (error: (own: ScoredToken, other: ScoredToken) => number) =>
    Math.max(...cpu.scored.map((own, i) => error(own, gpu.scored[i]!)));
  const within = [
    worst.within(
      'log-probability',
      // the first token has none
      most((own, other) => Math.abs((own.logprob ?? 0) - (other.logprob ?? 0))),
      2.5e-4,
    ),
    worst.within(
      'entropy',
      most((own, other) => Math.abs(own.entropy - other.entropy)),
      2.5e-4,
    ),
  ];
  worst.print();
  assert.equal(within, [true, true]);
  assert.ok(apart / positions <= APART, `${apart}`);
  assert.equal(gpu.written, cpu.written);
}
