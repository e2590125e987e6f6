/**
 * The CPU with all lanes against a GPU: products by shape, and models by size, from which `auto` has its crossovers (src/device/crossover.ts); and decoding on the GPU by how
 * many texts are written at once.
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { configOf, initialWeights, type Shape } from '../examples/pretrain/initial-model.ts';
import { CROSSOVER } from '../src/device/crossover.ts';
import type { Device, Tensor } from '../src/device/device.ts';
import { openDevice } from '../src/device/open-device.ts';
import { EspalierError } from '../src/errors.ts';
import { openLocal } from '../src/open-local.ts';
import { type Decoding, decoding, halved } from './device-decoding.ts';
import { KernelBench, type KernelTime } from './device-kernels.ts';
import { compare, header, machine, type Options, type Timing } from './harness.ts';
import { MatrixBench, matrixUnits } from './matrix-units.ts';
import { type Context, numbers, type Suite } from './suite.ts';
import { openTraining, sequences } from './train-work.ts';

const KINDS = ['wasm', 'webgpu'] as const;

/** Rows that meet weights: a token, a few, and as many as weights have. */
const FEW = 16;
/** Random models of the embedded model's tokenizer, f32, the smallest first; SmolLM2's shape is the last but one. */
const MODELS: readonly Pick<Shape, 'layers' | 'hidden' | 'intermediate' | 'heads' | 'kvHeads'>[] = [
  { layers: 4, hidden: 128, intermediate: 384, heads: 4, kvHeads: 2 },
  { layers: 8, hidden: 256, intermediate: 512, heads: 8, kvHeads: 4 },
  { layers: 12, hidden: 448, intermediate: 1216, heads: 7, kvHeads: 7 },
  { layers: 30, hidden: 576, intermediate: 1536, heads: 9, kvHeads: 3 },
  { layers: 32, hidden: 960, intermediate: 2560, heads: 15, kvHeads: 5 },
];
const VOCABULARY = 8192;
const PROMPT = 256;
const DECODED = 32;
/** Sequences of a step and their tokens. */
const STEP = [8, 64] as const;

/** Both devices at one thing: units a second. */
interface Row {
  readonly what: string;
  readonly size: number;
  readonly unit: string;
  readonly wasm: number;
  readonly webgpu: number;
}

function rowOf(what: string, size: number, timings: readonly Timing[]): Row {
  const [wasm, webgpu] = KINDS.map((_, i) => timings[i]!.best) as [number, number];
  return { what, size, unit: `${timings[0]!.unit}/s`, wasm, webgpu };
}

const filled = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 0.7) / 16);

/** x [m, n] · Wᵀ [n, n] of weights as a linear layer has them. */
async function product(device: Device, m: number, n: number): Promise<() => Promise<void>> {
  const bytes = new Uint8Array(filled(n * n).buffer);
  const weights = await device.loadMatrix({
    ...{ name: 'weights', type: 'f32', rows: n, columns: n, order: null, orderGroup: n },
    read: async (first, target) => target.set(bytes.subarray(4 * first * n, 4 * first * n + target.length)),
  });
  const [x, y] = [0, 1].map(() => device.tensor('f32', [m, n])) as [Tensor, Tensor];
  device.write(x, filled(m * n));
  // many behind one another, as in a layer: a GPU's way there and back is not what is asked
  const times = m === 1 ? 32 : 4;
  return async () => {
    for (let i = 0; i < times; i++) device.linear(x, [weights], [y], 'exact');
    await device.flush();
  };
}

async function products(context: Context, lanes: number, options: Options): Promise<Row[]> {
  const rows: Row[] = [];
  const devices = await Promise.all(KINDS.map((kind) => openDevice(kind, { lanes })));
  try {
    for (const n of numbers(context, 'n', [256, 512, 1024, 2048])) {
      for (const [what, m] of [
        ['vector', 1],
        ['few rows', FEW],
        ['square', n],
      ] as const) {
        const runs = await Promise.all(devices.map((device) => product(device, m, n)));
        const times = m === 1 ? 32 : 4;
        const unitsPerRun = (2 * times * m * n * n) / 1e9;
        const timings = await compare(
          runs.map((run, i) => ({ name: KINDS[i]!, unit: 'GFLOP', unitsPerRun, run })),
          options,
        );
        rows.push(rowOf(`product, ${what}`, n, timings));
        context.print(line(rows.at(-1)!));
      }
    }
  } finally {
    for (const device of devices) device.close();
  }
  return rows;
}

async function filesOf(
  own: (typeof MODELS)[number],
  vocabulary: number = VOCABULARY,
  positions = 1024,
): Promise<Record<string, Uint8Array>> {
  const shape: Shape = { ...own, vocabulary, positions };
  const folder = fileURLToPath(new URL('../models/nano-base/', import.meta.url));
  return {
    'config.json': new TextEncoder().encode(JSON.stringify(configOf(shape))),
    'model.safetensors': initialWeights(shape, 1),
    'tokenizer.json': await readFile(`${folder}tokenizer.json`),
    'tokenizer_config.json': await readFile(`${folder}tokenizer_config.json`),
  };
}

async function answering(files: Record<string, Uint8Array>, lanes: number, options: Options) {
  const opened = await Promise.all(
    KINDS.map(async (kind) => {
      const device = await openDevice(kind, { lanes });
      return { device, kind, model: await openLocal(files, { device, promptCache: 0 }) };
    }),
  );
  const ids = sequences(1, PROMPT, VOCABULARY)[0]!;
  const run = async (model: (typeof opened)[number]['model'], maxTokens: number) => {
    const asked = { maxTokens, temperature: 0, stopAtEos: false };
    return (await model.generate(ids, asked).result()).timings;
  };
  try {
    const prefill = await compare(
      opened.map(({ kind, model }) => ({
        ...{ name: kind, unit: 'token', unitsPerRun: PROMPT },
        run: async () => PROMPT / (await run(model, 1)).prefillTokensPerSecond,
      })),
      options,
    );
    const decode = await compare(
      opened.map(({ kind, model }) => ({
        ...{ name: kind, unit: 'token', unitsPerRun: DECODED },
        run: async () => DECODED / (await run(model, DECODED)).decodeTokensPerSecond,
      })),
      options,
    );
    return { prefill, decode };
  } finally {
    for (const { model, device } of opened) {
      model.close();
      device.close();
    }
  }
}

async function training(files: Record<string, Uint8Array>, lanes: number, options: Options): Promise<Timing[]> {
  const all = await Promise.all(
    KINDS.map((device) => openTraining(files, { device, lanes, lora: 0, rate: 1e-4, recompute: false })),
  );
  const [count, length] = STEP;
  const ids = sequences(count, length, VOCABULARY);
  try {
    return await compare(
      all.map((one, i) => ({
        ...{ name: KINDS[i]!, unit: 'token', unitsPerRun: count * length },
        // the loss is no time
        run: async () => void (await one.step(ids)),
      })),
      options,
    );
  } finally {
    for (const one of all) one.dispose();
  }
}

/** The least size from which on the GPU is faster at all of it; null: at no size that was tried. */
function crossover(rows: readonly Row[]): number | null {
  const slow = rows.filter(({ wasm, webgpu }) => webgpu <= wasm).map(({ size }) => size);
  const beyond = rows.filter(({ size }) => size > Math.max(0, ...slow)).map(({ size }) => size);
  return beyond.length === 0 ? null : Math.min(...beyond);
}

function line({ what, size, unit, wasm, webgpu }: Row): string {
  const figure = (value: number): string => value.toPrecision(3).padStart(9);
  const times = `${(webgpu / wasm).toPrecision(3)} x`;
  return `${what.padEnd(20)}${String(size).padStart(12)}${figure(wasm)}${figure(webgpu)} ${unit.padEnd(9)}${times.padStart(9)}`;
}

/** Of one of the models' shapes in f16, with SmolLM2's vocabulary unless another is given. */
async function decode(context: Context, options: Options): Promise<Decoding[]> {
  const { print } = context;
  const [shape = 1] = numbers(context, 'shape', [4]);
  const [vocabulary = 1] = numbers(context, 'vocabulary', [49_152]);
  const [prompt = 1] = numbers(context, 'prompt', [512]);
  const [tokens = 1] = numbers(context, 'tokens', [64]);
  const given = context.flags['model'];
  const own = MODELS[shape - 1]!;
  const random = async (): Promise<Record<string, Uint8Array>> => {
    const files = await filesOf(own, vocabulary, Math.max(1024, prompt + tokens + 2));
    files['model.safetensors'] = halved(files['model.safetensors']!);
    return files;
  };
  const [target, name] =
    typeof given === 'string'
      ? [given, given.split('/').at(-1)!]
      : [await random(), `${own.layers} layers of ${own.hidden} in f16`];
  const device = await KernelBench.create();
  try {
    const [temperature = 0] = numbers(context, 'temperature', [0]);
    const [topK = 0] = numbers(context, 'top-k', [0]);
    const sampling = { temperature, topK };
    const sizes = { texts: numbers(context, 'texts', [1, 8, 32]), prompt, tokens, sampling };
    const results = await decoding(device, target, sizes, { ...options, warmup: 1 });
    print(`\ndecoding behind ${prompt} tokens, ${name}, ${JSON.stringify(sampling)}`);
    print(`${'texts'.padEnd(8)}${'dispatches'.padStart(12)}${'MB of weights'.padStart(15)}${'tokens/s'.padStart(12)}`);
    for (const { texts, dispatches, weightBytes, tokensPerSecond } of results) {
      const figures = [dispatches.toFixed(1), (weightBytes / 1e6).toFixed(1), tokensPerSecond.toFixed(0)];
      print(
        `${String(texts).padEnd(8)}${figures[0]!.padStart(12)}${figures[1]!.padStart(15)}${figures[2]!.padStart(12)}`,
      );
    }
    for (const { texts, kernels } of results) {
      print(`\na pass of ${texts}, by kernel: dispatches, us of one behind its like, us of recording it`);
      const time = ({ dispatches, microseconds }: KernelTime): number => dispatches * microseconds;
      for (const [name, of] of Object.entries(kernels).sort(([, a], [, b]) => time(b) - time(a))) {
        const figures = [of.dispatches.toFixed(0), of.microseconds.toFixed(1), of.recording.toFixed(1)];
        print(`${figures.map((figure) => figure.padStart(8)).join('')}  ${name}`);
      }
    }
    return results;
  } finally {
    device.close();
  }
}

/** A prompt of a random model in f16, by what meets its weights: tokens a second, best of some. */
async function prefills(context: Context, device: MatrixBench): Promise<Record<string, number>> {
  const [shape = 1] = numbers(context, 'shape', [4]);
  const [prompt = 1] = numbers(context, 'prompt', [2048]);
  const [vocabulary = 1] = numbers(context, 'vocabulary', [49_152]);
  const own = MODELS[shape - 1]!;
  const files = await filesOf(own, vocabulary, prompt + 2);
  files['model.safetensors'] = halved(files['model.safetensors']!);
  const ids = sequences(1, prompt, vocabulary)[0]!;
  const rates: Record<string, number> = {};
  for (const precision of ['exact', 'int8'] as const) {
    const model = await openLocal(files, { device, precision });
    try {
      let best = 0;
      for (let round = 0; round < 8; round++) {
        const asked = { maxTokens: 1, temperature: 0, stopAtEos: false };
        const { prefillTokensPerSecond } = (await model.generate(ids, asked).result()).timings;
        best = Math.max(best, prefillTokensPerSecond);
      }
      rates[precision] = best;
      context.print(
        `prompt of ${prompt}, ${own.layers} layers of ${own.hidden} in f16, ${precision}: ${best.toFixed(0)} tokens/s`,
      );
    } finally {
      model.close();
    }
  }
  return rates;
}

async function matrix(context: Context): Promise<unknown> {
  const device = await MatrixBench.create();
  try {
    const info = machine([device.description['adapter'] ?? null]);
    context.print(header(info));
    const features = process.env['ESPALIER_DAWN_FEATURES'];
    if (features) context.print(`with ${features}`);
    const products = await matrixUnits(context, device);
    return { machine: info, description: device.description, ...products, prefill: await prefills(context, device) };
  } finally {
    device.close();
  }
}

const suite: Suite = {
  about:
    'the CPU against a GPU, by shape and by size, and decoding there  (--lanes N --n 256,1024 --models 5 --rounds 5; --decoding alone: --texts 1,8,32 --shape 4 --vocabulary 49152 --prompt 512 --tokens 64, drawn with --temperature 1 --top-k 40, of a model by --model FILE; --matrix alone: products on matrix units, --n 1024,4096 --at 4096 --seconds 70)',
  async run(context) {
    const { print, flags } = context;
    if (flags['matrix']) return matrix(context);
    const [lanes = 1] = numbers(context, 'lanes', [availableParallelism()]);
    const [most = 1] = numbers(context, 'models', [MODELS.length]);
    const [rounds = 5] = numbers(context, 'rounds', [5]);
    const options = { rounds, warmup: 2 };
    const gpu = await openDevice('webgpu');
    const description = gpu.description;
    gpu.close();
    const info = machine([`${lanes} lanes`, description['adapter'] ?? null]);
    print(header(info));
    if (flags['decoding']) return { machine: info, description, decoding: await decode(context, options) };
    print(`${''.padEnd(20)}${'size'.padStart(12)}${'wasm'.padStart(9)}${'webgpu'.padStart(9)}`);
    const rows = await products(context, lanes, options);
    for (const own of MODELS.slice(0, most)) {
      const files = await filesOf(own);
      const parameters = Math.round(files['model.safetensors']!.length / 4);
      const { prefill, decode } = await answering(files, lanes, options);
      const tell = (row: Row): void => {
        rows.push(row);
        print(line(row));
      };
      tell(rowOf(`prefill of ${PROMPT}`, parameters, prefill));
      tell(rowOf('decode', parameters, decode));
      const task = `training, ${STEP.join(' x ')}`;
      try {
        tell(rowOf(task, parameters, await training(files, lanes, options)));
      } catch (error) {
        if (!(error instanceof EspalierError) || error.code !== 'E_OUT_OF_MEMORY') throw error;
        print(`${task.padEnd(20)}${String(parameters).padStart(12)}  ${error.message}`);
      }
    }
    const found = {
      answering: crossover(rows.filter(({ what }) => /^(?:prefill|decode)/.test(what))),
      training: crossover(rows.filter(({ what }) => what.startsWith('training'))),
    };
    print(`\nfaster on the GPU from so many parameters on: ${JSON.stringify(found)}`);
    print(`auto goes by: ${JSON.stringify(CROSSOVER)} (src/device/crossover.ts)`);
    return { machine: info, description, rows, crossover: found, decoding: await decode(context, options) };
  },
};
export default suite;
