/** A decoder that is trained: how deep its way back goes, frozen weights of every type, lanes, finite differences, refusals. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Tensor } from '../../src/device/device.ts';
import { WasmTrainDevice } from '../../src/device/wasm/wasm-train-device.ts';
import type { LoraTerm } from '../../src/model/lora.ts';
import type { DecoderTrainable, TrainedTerms } from '../../src/train/decoder-trainable.ts';
import { RouterStatistics } from '../../src/train/router-statistics.ts';
import type { MicroBatch } from '../../src/train/trainable.ts';
import { put, trainDevices, Worst } from '../device/devices.ts';
import { randomF32 } from '../device/reference.ts';
import { rejects } from '../errors.ts';
import { distance } from '../model/run.ts';
import { batchOf, type GradientCase, gradientCases, gradientsOf, tinyTrainable } from './decoders.ts';

const worst = new Worst();
const device = await WasmTrainDevice.create();
const cases = await gradientCases();
const caseOf = (model: string): GradientCase => cases.find((one) => one.model === model)!;
const FACTORS = { balance: 0.1, z: 0.05 };
const BATCH = batchOf(caseOf('llama-gqa'));

/** What a pass gives where these are trained. */
async function gradientsWhere(
  trainable: DecoderTrainable,
  wanted: (name: string) => boolean,
  batch: MicroBatch = BATCH,
): Promise<Map<string, Float32Array>> {
  trainable.train(({ name }) => wanted(name));
  await trainable.step(batch, FACTORS);
  return gradientsOf(trainable);
}

for (const name of ['llama-bias', 'gemma3', 'smollm3-window', 'moe-qwen2', 'moe-granite', 'moe-espalier-dots1']) {
  test(`${name}: what is trained alone has the gradient that it has beside all others`, async () => {
    const trainable = await tinyTrainable(name, device);
    const all = await gradientsWhere(trainable, () => true);
    assert.is(all.size, trainable.parameters.length);
    for (const [own, gradient] of all) {
      const alone = await gradientsWhere(trainable, (other) => other === own);
      assert.equal([...alone.keys()], [own]);
      assert.equal(alone.get(own), gradient, own);
    }
    const upper = await gradientsWhere(trainable, (other) => other.includes('layers.1.') || other.includes('norm'));
    for (const [own, gradient] of upper) assert.equal(gradient, all.get(own), own);
    trainable.train(() => false);
    const losses = await trainable.step(BATCH, FACTORS);
    assert.ok(losses.crossEntropy > 0, 'a pass where nothing is trained');
    trainable.dispose();
  });
}

const STORED = 1e-5; // relative
for (const name of [
  'llama-f16',
  'llama-bf16',
  'gguf-llama-q8_0',
  'gguf-qwen2-q4_0',
  'gguf-llama-q4_1',
  'gguf-llama-q5_1',
  'gguf-gemma3-q8_0',
]) {
  test(`${name}: frozen matrices as they are stored pass on what f32 ones do`, async () => {
    const stored = await tinyTrainable(name, device, { trainable: (own) => own.includes('norm') });
    const { bytes } = device.stats();
    const masters = await tinyTrainable(name, device);
    // rows and panels of f32, against 2 bytes and less
    assert.ok(device.stats().bytes - bytes > 3 * bytes, `${bytes}`);
    assert.ok(stored.parameters.every(({ packed }) => packed === null));
    assert.ok(stored.parameters.length < masters.parameters.length);
    const [got, want] = await Promise.all(
      [stored, masters].map((one) => gradientsWhere(one, (own) => own.includes('norm'))),
    );
    assert.equal([...got!.keys()], [...want!.keys()]);
    for (const [own, gradient] of got!) {
      const error = distance(gradient, want!.get(own)!);
      assert.ok(worst.within('frozen against f32', error, STORED), `${own}: ${error}`);
    }
    for (const one of [stored, masters]) one.dispose();
  });
}

const DIFFERENCES = 2e-3; // relative; losses are about 5, in f32
for (const one of cases.filter(({ model }) => !/nano|rope-|sharded|f16/.test(model))) {
  test(`${one.model}: gradients are what losses change by`, async () => {
    const places: Promise<unknown>[] = [];
    const trainable = await tinyTrainable(one.model, device);
    const batch = batchOf(one);
    const all = await gradientsWhere(trainable, () => true, batch);
    /** The loss, and which experts it was computed by. */
    const pass = async () => {
      places.length = 0;
      const { crossEntropy, balance, z } = await trainable.evaluate(batch, {
        onMixture: (_, { routing }) => places.push(device.read(routing.places)),
      });
      return { loss: crossEntropy + FACTORS.balance * balance + FACTORS.z * z, experts: await Promise.all(places) };
    };
    const { experts } = await pass();
    const total = Math.hypot(...[...all.values()].map((gradient) => Math.hypot(...gradient)));
    let [compared, asked] = [0, 0];
    for (let i = 0; i < trainable.parameters.length; i += 5) {
      const { name, value } = trainable.parameters[i]!;
      const gradient = all.get(name)!;
      const norm = Math.hypot(...gradient);
      if (norm < 1e-3 * total) continue; // lost in the rounding of the loss
      asked++;
      const before = (await device.read(value)) as Float32Array;
      const at = async (by: number) => {
        device.write(
          value,
          before.map((x, j) => x + (by * gradient[j]!) / norm),
        );
        trainable.repack();
        return pass();
      };
      // along the slope, so far that the loss changes by about 0.004 each way; less where a token would go to another expert
      const far = Math.min(0.004 / norm, 0.02 * Math.hypot(...before));
      for (const step of [far, far / 3, far / 9]) {
        const [up, down] = [await at(step), await at(-step)];
        if (JSON.stringify([up.experts, down.experts]) !== JSON.stringify([experts, experts])) continue;
        const slope = (up.loss - down.loss) / (2 * step);
        const error = Math.abs(slope - norm) / norm;
        assert.ok(worst.within('finite differences', error, DIFFERENCES), `${name}: ${slope}, not ${norm}`);
        compared++;
        break;
      }
      await at(0);
    }
    assert.ok(asked > 0 && compared >= asked / 2, `${compared} of ${asked}`);
    trainable.dispose();
  });
}

const SIZES = 1e-5; // relative
test('statistics of routers are those of the passes that were watched', async () => {
  for (const name of ['moe-qwen2', 'moe-granite-unshared', 'moe-espalier-dots1']) {
    const trainable = await tinyTrainable(name, device);
    const statistics = new RouterStatistics(device, trainable.config);
    const outs = new Map<number, Promise<readonly ArrayLike<number>[]>>();
    const { moe, hiddenSize } = trainable.config;
    for (let pass = 0; pass < 2; pass++) {
      await trainable.evaluate(BATCH, {
        onMixture: (layer, mixture) => {
          statistics.watch(layer, mixture);
          const { y, routing, sharedOut } = mixture;
          const { places, order, weights, logits } = routing;
          outs.set(layer, device.read([places, y, order, weights, logits, ...(sharedOut ? [sharedOut] : [])]));
        },
      });
    }
    const layers = await statistics.layers();
    assert.equal(
      layers.map(({ layer }) => layer),
      moe!.layers,
    );
    for (const { layer, counts, routed, shared, logitNorm, diversity } of layers) {
      const [places, y, order, weights, logits, sharedOut] = await outs.get(layer)!;
      const chosen = new Array<number>(moe!.experts).fill(0);
      for (const place of Array.from(places!)) chosen[place]! += 2;
      assert.equal(counts, chosen);
      const sums = new Float64Array(BATCH.ids.length * hiddenSize);
      for (let i = 0; i < order!.length; i++) {
        const slot = order![i]!;
        const token = Math.floor(slot / moe!.topK);
        for (let j = 0; j < hiddenSize; j++) sums[token * hiddenSize + j]! += weights![slot]! * y![i * hiddenSize + j]!;
      }
      const size = (list: ArrayLike<number>) => Math.hypot(...Array.from(list)) / Math.sqrt(list.length);
      assert.ok(worst.within('sizes of experts', Math.abs(routed / size(sums) - 1), SIZES), `${routed}`);
      const { experts, topK } = moe!;
      const row = (list: ArrayLike<number>, i: number, width: number) =>
        Array.from({ length: width }, (_, c) => list[i * width + c]!);
      const tokens = Array.from({ length: BATCH.ids.length }, (_, t) => t);
      const mean = (list: readonly number[]) => list.reduce((sum, v) => sum + v, 0) / list.length;
      const norms = mean(tokens.map((t) => Math.hypot(...row(logits!, t, experts))));
      assert.ok(worst.within('norms of router logits', Math.abs(logitNorm / norms - 1), SIZES), `${logitNorm}`);
      const given = (slot: number) => row(y!, Array.from(order!).indexOf(slot), hiddenSize);
      const cosines = tokens.flatMap((t) => {
        const all = Array.from({ length: topK }, (_, j) => given(t * topK + j));
        return all.flatMap((a, j) =>
          all.slice(0, j).map((b) => a.reduce((sum, v, c) => sum + v * b[c]!, 0) / Math.hypot(...a) / Math.hypot(...b)),
        );
      });
      assert.ok(worst.within('diversity', Math.abs(diversity! - (1 - mean(cosines))), SIZES), `${diversity}`);
      assert.is(shared === null, moe!.sharedSize === 0);
      if (shared !== null) {
        assert.ok(worst.within('sizes of experts', Math.abs(shared / size(sharedOut!) - 1), SIZES), `${shared}`);
      }
    }
    trainable.dispose();
  }
  await rejects('E_ARGUMENT', () => new RouterStatistics(device, { moe: null }));
});

const PACKED = 1e-5; // relative
test('sequences that are packed know nothing of each other', async () => {
  for (const name of ['mistral-window', 'gemma3', 'moe-qwen2']) {
    const trainable = await tinyTrainable(name, device);
    trainable.train(() => true);
    const together = await trainable.step(BATCH, {});
    const packed = await gradientsOf(trainable);
    trainable.zeroGradients();
    let apart = 0;
    const { lengths } = caseOf('llama-gqa');
    for (let i = 0, first = 0; i < lengths.length; first += lengths[i++]!) {
      const cut = <T extends Int32Array | Float32Array>(list: T) => list.slice(first, first + lengths[i]!) as T;
      const { ids, positions, targets, weights } = BATCH;
      const own = { ids: cut(ids), positions: cut(positions), targets: cut(targets), weights: cut(weights) };
      apart += (await trainable.step({ ...own, starts: own.ids.map(() => 0) }, {})).crossEntropy;
    }
    assert.ok(worst.within('losses, packed', Math.abs(together.crossEntropy - apart) / apart, PACKED), `${apart}`);
    const sums = await gradientsOf(trainable);
    for (const [own, gradient] of sums) {
      const error = distance(packed.get(own)!, gradient);
      assert.ok(worst.within('gradients, packed', error, PACKED), `${name} ${own}: ${error}`);
    }
    trainable.dispose();
  }
});

/** A term on a matrix of each kind, one of them with some rows of a factor, as Granite's adapters have it. */
function termsOn(hidden: number, heads: number, inner: number): TrainedTerms {
  const rank = 3;
  const factor = (name: string, rows: number, columns: number, seed: number) => {
    const value = put(device, [rows, columns], randomF32(rows * columns, seed, 0.3));
    return { name, shape: [rows, columns], value, packed: null };
  };
  const [qa, qb] = [factor('q.lora_A', rank, hidden, 1), factor('q.lora_B', heads, rank, 2)];
  const [ia, ib] = [factor('input.lora_A', rank, hidden, 3), factor('input.lora_B', 2 * inner, rank, 4)];
  const [da, db] = [factor('down.lora_A', rank, inner, 5), factor('down.lora_B', hidden, rank, 6)];
  const half = (first: number): Tensor => device.rows(ib!.value, first, inner);
  const term = (a: Tensor, b: Tensor, scale = 0.7): LoraTerm[] => [{ a, b, scale }];
  const factors = [qa!, qb!, ia!, ib!, da!, db!];
  return {
    terms: new Map([
      [0, { q: term(qa!.value, qb!.value), down: term(da!.value, db!.value) }],
      [1, { gate: term(ia!.value, half(0)), up: term(ia!.value, half(inner), 0.4) }],
    ]),
    factors,
    dispose: () => {
      for (const { value } of factors) value.dispose();
    },
  };
}

const TERMS = 1e-5; // relative
test('gradients of low-rank terms follow from those of the matrices under them', async () => {
  const trainable = await tinyTrainable('llama-gqa', device, { adapter: termsOn(48, 48, 48) });
  const all = await gradientsWhere(trainable, () => true);
  const values = new Map<string, Float32Array>();
  for (const { name, value } of trainable.parameters) values.set(name, (await device.read(value)) as Float32Array);
  /** scale · Bᵀ dW, and scale · dW Aᵀ; dW [n, k] */
  const wanted = (weight: string, a: Float32Array, b: Float32Array, scale: number) => {
    const dW = all.get(weight)!;
    const [rank, n] = [3, b.length / 3];
    const k = dW.length / n;
    const [dA, dB] = [new Float32Array(rank * k), new Float32Array(n * rank)];
    for (let i = 0; i < n; i++) {
      for (let r = 0; r < rank; r++) {
        for (let j = 0; j < k; j++) {
          dA[r * k + j]! += scale * b[i * rank + r]! * dW[i * k + j]!;
          dB[i * rank + r]! += scale * dW[i * k + j]! * a[r * k + j]!;
        }
      }
    }
    return { dA, dB };
  };
  const near = (name: string, want: Float32Array) => {
    const error = distance(all.get(name)!, want);
    assert.ok(worst.within('low-rank terms', error, TERMS), `${name}: ${error}`);
  };
  const at = 'model.layers.0.';
  for (const [own, weight] of [
    ['q', `${at}self_attn.q_proj.weight`],
    ['down', `${at}mlp.down_proj.weight`],
  ] as const) {
    const { dA, dB } = wanted(weight, values.get(`${own}.lora_A`)!, values.get(`${own}.lora_B`)!, 0.7);
    near(`${own}.lora_A`, dA);
    near(`${own}.lora_B`, dB);
  }
  const [a, b] = [values.get('input.lora_A')!, values.get('input.lora_B')!];
  const gate = wanted('model.layers.1.mlp.gate_proj.weight', a, b.subarray(0, 144), 0.7);
  const up = wanted('model.layers.1.mlp.up_proj.weight', a, b.subarray(144), 0.4);
  near(
    'input.lora_A',
    gate.dA.map((x, i) => x + up.dA[i]!),
  );
  near('input.lora_B', Float32Array.of(...gate.dB, ...up.dB));

  // alone they have the same, and nothing else is computed for them
  const alone = await gradientsWhere(trainable, (name) => name.includes('lora_'));
  assert.is(alone.size, 6);
  for (const [name, gradient] of alone) assert.equal(gradient, all.get(name), name);
  const half = await gradientsWhere(trainable, (name) => name === 'down.lora_B');
  assert.equal(half.get('down.lora_B'), all.get('down.lora_B'));
  trainable.dispose();
});

test('the same bits for any number of lanes', async () => {
  const ids = Int32Array.from({ length: 200 }, (_, i) => (i * 7919) % 8192);
  const half = (i: number) => (i < 120 ? 0 : 120);
  const batch: MicroBatch = {
    ids,
    positions: ids.map((_, i) => i - half(i)),
    starts: ids.map((_, i) => half(i)),
    targets: ids.map((_, i) => (i === 119 || i === 199 || i < 20 ? -1 : ids[i + 1]!)),
    weights: new Float32Array(200).fill(1 / 178),
  };
  const all = await trainDevices();
  for (const name of ['nano-base', 'moe-qwen2', 'gemma3']) {
    const own = name === 'nano-base' ? batch : batchOf(caseOf(name));
    const seen = new Map<string, Map<string, Float32Array>>();
    for (const { name: way, device: on } of all.filter(({ name: way }) => !/lane, shared|wide dot/.test(way))) {
      const kind = way.replace(/, \d lanes$/, '');
      const trainable = await tinyTrainable(name, on);
      const got = await gradientsWhere(trainable, () => true, own);
      for (const [key, gradient] of got) assert.equal(gradient, (seen.get(kind) ?? got).get(key), `${key}, ${way}`);
      seen.set(kind, got);
      trainable.dispose();
    }
  }
  for (const { name, device: on } of all) {
    assert.is(on.stats().tensors, 0, name);
    on.close();
  }
});

test('a pass that is aborted between layers leaves nothing behind', async () => {
  const trainable = await tinyTrainable('moe-qwen2', device);
  const want = await gradientsWhere(trainable, () => true);
  const abort = new AbortController();
  const { tensors } = device.stats();
  const seen: number[] = [];
  await rejects('E_ABORTED', () =>
    trainable.step(BATCH, {
      signal: abort.signal,
      onMixture: (layer) => {
        seen.push(layer);
        abort.abort();
      },
    }),
  );
  assert.equal(seen, trainable.config.moe!.layers.slice(0, 1), 'no layer behind it');
  assert.is(device.stats().tensors, tensors);
  const again = await gradientsWhere(trainable, () => true);
  for (const [name, gradient] of want) assert.equal(again.get(name), gradient, name);
  trainable.dispose();
});

test('and so does one that is aborted among the logits', async () => {
  const trainable = await tinyTrainable('llama-gqa', device);
  trainable.train(() => true);
  const tokens = (by: (i: number) => number) => Int32Array.from({ length: 1200 }, (_, i) => by(i));
  const batch = {
    ...{ ids: tokens((i) => i % 97), positions: tokens((i) => i % 40), starts: tokens((i) => i - (i % 40)) },
    ...{ targets: tokens((i) => i % 89), weights: new Float32Array(1200).fill(1e-3) },
  };
  for (const pass of ['step', 'evaluate'] as const) {
    const [abort, mark] = [new AbortController(), device.mark()];
    let chunks = 0;
    device.logitStats = (...args) => {
      chunks++;
      abort.abort();
      return WasmTrainDevice.prototype.logitStats.apply(device, args);
    };
    await rejects('E_ABORTED', () => trainable[pass](batch, { signal: abort.signal }));
    assert.is(chunks, 1, 'of three');
    assert.equal(device.mark(), mark);
  }
  Reflect.deleteProperty(device, 'logitStats');
  trainable.dispose();
});

test('a batch that cannot be computed is refused before work', async () => {
  const trainable = await tinyTrainable('llama-gqa', device);
  trainable.train(() => true);
  const refused = (code: string, change: Partial<MicroBatch>) =>
    rejects(code, () => trainable.step({ ...BATCH, ...change }, {}));
  const set = (list: Int32Array, at: number, value: number) => list.map((x, i) => (i === at ? value : x));
  await refused('E_ARGUMENT', { ids: set(BATCH.ids, 3, 104) });
  await refused('E_ARGUMENT', { ids: set(BATCH.ids, 3, -1) });
  await refused('E_ARGUMENT', { targets: set(BATCH.targets, 9, 104) });
  await refused('E_ARGUMENT', { starts: set(BATCH.starts, 3, 4) });
  await refused('E_CONTEXT_LENGTH', { positions: set(BATCH.positions, 3, 64) });
  await refused('E_ARGUMENT', { weights: BATCH.weights.slice(1) });
  await refused('E_ARGUMENT', { weights: BATCH.weights.map(() => Number.NaN) });
  await rejects('E_ARGUMENT', () => trainable.step(BATCH, { divergence: 0.1 }));
  await rejects('E_ABORTED', () => trainable.step(BATCH, { signal: AbortSignal.abort() }));
  const none = await trainable.step({ ...BATCH, targets: BATCH.targets.map(() => -1) }, {});
  assert.ok(Object.values(none).every((loss) => loss === 0));
  for (const gradient of (await gradientsOf(trainable)).values()) assert.ok(gradient.every((x) => x === 0));
  trainable.dispose();
});

test('nothing is left', () => {
  assert.is(device.stats().tensors, 0, device.liveTensors().join('\n'));
  device.close();
  worst.print();
});

test.run();
