// device: webgpu — holds what a GPU grows against the CPU
/** Growing with a GPU's products: slices, whole jobs here and in a worker, what is kept of a job on another device, and a GPU that computes wrongly. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DigitDevice } from '../../src/device/digit-device.ts';
import { openDigitDevice } from '../../src/device/open-device.ts';
import { shapeOf } from '../../src/grow/methods/method.ts';
import { type SliceOptions, Slices } from '../../src/grow/methods/slices.ts';
import type { GrowRecipe } from '../../src/grow/plan/options.ts';
import { resolveOptions } from '../../src/grow/plan/recipe.ts';
import type { Projection } from '../../src/grow/types.ts';
import { type GrowOptions, grow, memoryOutput, planGrow } from '../../src/grow.ts';
import * as espalier from '../../src/index.ts';
import { Worst } from '../device/devices.ts';
import { rejects } from '../errors.ts';
import { normal } from '../svd/algebras.ts';
import { digests, grown, opened, tensorValues } from './growth.ts';
import { ground, inner, nanoLayer, norm, relative } from './layers.ts';
import { modelOf } from './models.ts';

const worst = new Worst();
/** Bounds here are a GPU's own, to be taken as they are. */
const within = (name: string, error: number, bound: number) => worst.within(name, error, bound / 4);
const on = await ground();
const gpu = await openDigitDevice('webgpu', { debug: true });

interface Matrix {
  readonly name: string;
  readonly w: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/** The first rows and columns of a trained projection. */
async function trained(projection: Projection, rows: number, columns: number): Promise<Matrix> {
  const dense = await nanoLayer(3);
  const [, width] = shapeOf(projection, dense.hidden, dense.intermediate);
  const w = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) w.set(dense[projection].subarray(i * width, i * width + columns), i * columns);
  return { name: projection, w, rows, columns };
}

/** Rows that fall to 1e-6 of the first. */
async function graded(): Promise<Matrix> {
  const { w, rows, columns } = await trained('down', 40, 64);
  return { name: 'graded', w: w.map((x, i) => x * 10 ** ((-6 * Math.floor(i / columns)) / (rows - 1))), rows, columns };
}

const matrices: readonly Matrix[] = [
  await trained('down', 96, 320),
  await trained('gate', 300, 80),
  await graded(),
  // trained weights are bf16, of which f64 rounds nothing
  { name: 'normal', w: Float32Array.from(normal(60 * 90, 8)), rows: 60, columns: 90 },
];

async function slices({ w, rows, columns }: Matrix, device: DigitDevice | null, recipe: GrowRecipe = {}) {
  const plan = resolveOptions(recipe);
  const options: SliceOptions = { ...on, gpu: device, plan, layer: 3, projection: 'down', blocks: 4, w, rows, columns };
  const made = await Slices.make(options);
  const r: Float32Array[] = [];
  for (let g = 0; g < 4; g++) r.push(((await on.device.read(await made.slice(g))) as Float32Array).slice());
  const { record, alphas } = made;
  made.dispose();
  return { record, alphas, r };
}

/** A GPU of which one operation is a little wrong. */
function spoiled(how: 'sums' | 'slices'): DigitDevice {
  const wrong: Partial<DigitDevice> =
    how === 'sums'
      ? { addWhole: (x, sums, options) => gpu.addWhole(x, sums, { ...options, factor: options.factor + 1 }) }
      : {
          matmul: (a, b, c, options = {}) =>
            gpu.matmul(a, b, c, options.transposeA ? { ...options, alpha: 1.0001 } : options),
        };
  return new Proxy(gpu, {
    get(target, name: keyof DigitDevice) {
      const value = wrong[name] ?? target[name];
      return typeof value === 'function' && !wrong[name] ? value.bind(target) : value;
    },
  });
}

test('slices of a GPU keep what slices of the CPU are held to', async () => {
  for (const one of matrices) {
    for (const partition of ['contiguous', 'random-orthogonal'] as const) {
      if (partition === 'random-orthogonal' && one.name !== 'normal') continue;
      const [cpu, got] = [await slices(one, null, { partition }), await slices(one, gpu, { partition })];
      const label = `${one.name}, ${partition}`;
      assert.is(cpu.record.gpu, null);
      assert.equal(got.record.gpu!.recomputed, [], label);
      assert.is(got.record.decomposition, cpu.record.decomposition, label);
      if (partition === 'contiguous') {
        assert.is(got.record.decomposition, one.name === 'graded' ? 'svd' : 'gram', label);
        assert.ok(within('Gram matrix by its probe', got.record.gpu!.gramError!, 1e-14), label);
        const most = Math.abs(got.record.largest! / cpu.record.largest! - 1);
        assert.ok(within('largest singular value', most, 1e-14), `${label}: ${most}`);
        const least = Math.abs(got.record.smallest! / cpu.record.smallest! - 1);
        if (one.name !== 'graded') assert.ok(within('smallest singular value', least, 1e-12), `${label}: ${least}`);
      } else assert.is(got.record.gpu!.gramError, null);
      assert.ok(within('slices by their probe', got.record.gpu!.sliceError!, 1e-6), label);
      const sum = one.w.map((_, i) => got.r.reduce((all, x) => all + x[i]!, 0));
      assert.ok(within('T1 sum of slices', relative(sum, one.w), 1e-5), label);
      got.r.forEach((x, g) => {
        for (const y of got.r.slice(g + 1)) {
          const cosine = Math.abs(inner(x, y)) / (norm(x) * norm(y));
          assert.ok(within('T2 cosine of slices', cosine, 1e-6), `${label}: ${cosine}`);
        }
        const size = (got.alphas[g]! * norm(x)) / (1e-3 * norm(one.w));
        assert.ok(within('T3 norm', Math.abs(size - 1), 1e-4), label);
        const error = relative(x, cpu.r[g]!);
        assert.ok(within('slices beside the CPU’s', error, 1e-5), `${label}, ${g}: ${error}`);
      });
    }
  }
  assert.is(gpu.stats().tensors, 0);
});

test('what a GPU computes wrongly the CPU computes again, and the record says so', async () => {
  const [one] = matrices;
  const cpu = await slices(one!, null);
  const sums = await slices(one!, spoiled('sums'));
  assert.equal(sums.record.gpu!.recomputed, ['gram']);
  assert.ok(sums.record.gpu!.gramError! > 1e-12);
  // its eigenvectors are the CPU's then
  assert.equal({ ...sums.record, gpu: null }, cpu.record);
  const wrong = await slices(one!, spoiled('slices'));
  assert.equal(wrong.record.gpu!.recomputed, [0, 1, 2, 3]);
  assert.ok(wrong.record.gpu!.sliceError! > 1e-5);
  for (const [g, x] of wrong.r.entries()) assert.ok(relative(x, cpu.r[g]!) < 1e-5, `${g}`);
  assert.is(gpu.stats().tensors, 0);
  assert.is(on.device.stats().tensors, 0);
});

const shape = { vocab: 40, hidden: 32, inner: 80, layers: 2 };
const dense = modelOf(() => {}, shape);
/** The spectrum of gate and down, in every layer. */
const JOB = { target: 'granitemoeshared', placement: ['down', 'gate'] } as const satisfies Omit<GrowOptions, 'out'>;

test('a grown model is the CPU’s but for the last bits of its corrections, and two runs give the same', async () => {
  const [cpu, got] = [await grown(dense, JOB), await grown(dense, { ...JOB, device: 'webgpu' })];
  assert.is(cpu.receipt.device, 'wasm');
  assert.is(got.receipt.device, 'webgpu');
  const records = got.receipt.grown.flatMap(({ projections }) => projections);
  assert.is(records.length, 4);
  for (const { gpu: own } of records) {
    assert.is(own!.adapter, gpu.description['adapter']);
    assert.equal(own!.recomputed, []);
    assert.ok(own!.gramError! < 1e-14 && own!.sliceError! < 1e-6, JSON.stringify(own));
  }
  assert.ok(cpu.receipt.grown.every(({ projections }) => projections.every((one) => one.gpu === null)));
  await opened(cpu.files, (first) =>
    opened(got.files, async (second) => {
      for (const name of first.tensors.keys()) {
        const [x, y] = [await tensorValues(first, name), await tensorValues(second, name)];
        const made = /experts\.\d+\.(down|gate)_proj/.test(name);
        if (made) assert.ok(within('corrections beside the CPU’s', relative(y, x), 1e-6), name);
        else assert.equal(y, x, name);
      }
    }),
  );
  const [a, b] = [cpu.receipt.deviation!, got.receipt.deviation!];
  assert.ok(Math.abs(b.maxRelative / a.maxRelative - 1) < 1e-2, `${a.maxRelative} ${b.maxRelative}`);
  assert.equal(await digests((await grown(dense, { ...JOB, device: 'webgpu' })).files), await digests(got.files));
});

test('a job goes on with the kind of device that it was begun on, and is refused another', async () => {
  const job = { ...JOB, verify: false };
  const whole = await grown(dense, { ...job, device: 'webgpu' });
  const begin = async (device: 'wasm' | 'webgpu') => {
    const out = memoryOutput('grown');
    const controller = new AbortController();
    const onProgress: GrowOptions['onProgress'] = ({ done, total }) => {
      if (done > 0.7 * total) controller.abort();
    };
    await rejects('E_ABORTED', () => grow(dense, { ...job, device, out, onProgress, signal: controller.signal }));
    return out;
  };
  for (const [first, second] of [
    ['webgpu', 'wasm'],
    ['wasm', 'webgpu'],
  ] as const) {
    const out = await begin(first);
    const error = await rejects('E_ARGUMENT', () => grow(dense, { ...job, device: second, out }));
    assert.match(error.message, `device is ${second}`);
    assert.match(error.hint, 'restart');
    // who asks for none gets what it was begun on
    const receipt = await grow(dense, { ...job, out });
    assert.is(receipt.device, first);
    if (first === 'webgpu') assert.equal(await digests(out.result()), await digests(whole.files));
    const anew = await grow(dense, { ...job, device: 'wasm', out: await begin(first), restart: true });
    assert.is(anew.device, 'wasm');
  }
  assert.is(gpu.stats().tensors, 0);
});

test('a method without a spectrum asks nothing of a GPU, and says so', async () => {
  for (const method of ['naive', 'scaled-copy'] as const) {
    const job = { target: 'granitemoeshared', method, verify: false } as const;
    const [cpu, got] = [await grown(dense, job), await grown(dense, { ...job, device: 'webgpu' })];
    assert.is(got.receipt.device, 'wasm');
    assert.match(got.receipt.notes.join(' '), 'nothing was left to the GPU');
    const weights = 'model.safetensors';
    assert.equal((await digests(got.files))[weights], (await digests(cpu.files))[weights]);
  }
  const [cpu, got] = [await planGrow(dense, JOB), await planGrow(dense, { ...JOB, device: 'webgpu' })];
  assert.ok(got.seconds < cpu.seconds);
});

test('in a worker it is the same, and no GPUDevice can be sent there', async () => {
  const here = await grown(dense, { ...JOB, device: 'webgpu' });
  const there = await espalier.grow(dense, { ...JOB, device: 'webgpu' });
  assert.equal(there.receipt, here.receipt);
  assert.equal(await digests(there.files), await digests(here.files));
  const own = {
    ...{ queue: {}, limits: {}, lost: null },
    ...{ createBuffer: () => ({}), createComputePipelineAsync: () => null },
  };
  const error = await rejects('E_ARGUMENT', () => espalier.grow(dense, { device: own as never }));
  assert.match(error.hint, 'espalier/grow');
});

test('nothing is left', () => {
  assert.is(gpu.stats().tensors, 0);
  gpu.close();
  on.device.close();
  worst.print();
});

test.run();
