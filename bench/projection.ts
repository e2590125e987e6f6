/** One large projection grown from end to end, where a GPU computes the heavy products and where the CPU does, and with PyTorch in the same call. */
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { DigitDevice } from '../src/device/digit-device.ts';
import { openDigitDevice, openExactDevice } from '../src/device/open-device.ts';
import { Corrections } from '../src/grow/methods/corrections.ts';
import { normals } from '../src/grow/methods/noise.ts';
import { resolveOptions } from '../src/grow/plan/recipe.ts';
import type { ProjectionRecord } from '../src/grow/types.ts';
import { LinearAlgebra } from '../src/svd/linear-algebra.ts';
import { header, machine } from './harness.ts';
import { type Context, numbers, type Suite } from './suite.ts';

const EXPERTS = 8;
const TOP_K = 2;
/** Rows of an expert that are made at a time. */
const ROWS = 64;

interface Grown {
  readonly device: string;
  readonly seconds: number;
  readonly parts: Readonly<Record<string, number>>;
  readonly record: ProjectionRecord;
}

/** Normal numbers whose rows fall as one over the root of their number. */
async function weights(rows: number, columns: number): Promise<Float32Array> {
  const device = await openExactDevice();
  const w = await normals(device, rows * columns, 1, [0, 0]);
  device.close();
  for (let i = 0; i < rows; i++) {
    const scale = 1 / Math.sqrt(i + 1);
    for (let j = i * columns; j < (i + 1) * columns; j++) w[j]! *= scale;
  }
  return w;
}

async function grow(
  w: Float32Array,
  rows: number,
  columns: number,
  lanes: number,
  gpu: DigitDevice | null,
): Promise<Grown> {
  const device = await openExactDevice({ lanes });
  const algebra = LinearAlgebra.over(device);
  const plan = resolveOptions({ experts: EXPERTS, topK: TOP_K });
  const started = performance.now();
  const since = (from: number) => (performance.now() - from) / 1000;
  try {
    // of the decomposition a fifth of its progress is the Gram matrix
    let [gram, told] = [0, 0];
    const maker = await Corrections.create(
      {
        ...{ device, algebra, gpu, plan, layer: 0, hidden: rows, intermediate: columns },
        read: async () => w,
      },
      (fraction) => {
        if (fraction > 0.2 && told <= 0.2) gram = since(started);
        told = fraction;
      },
    );
    const decomposed = since(started);
    const piece = device.tensor('bf16', [ROWS, columns]);
    let slices = 0;
    for (let e = 0; e < EXPERTS; e++) {
      for (let first = 0; first < rows; first += ROWS) {
        const at = performance.now();
        await maker.make(e, 'down', first, device.rows(piece, 0, Math.min(ROWS, rows - first)));
        // the first rows of a group wait for its slice
        if (first === 0 && e % TOP_K === 0) slices += since(at);
        await device.readBytes(piece);
      }
    }
    const seconds = since(started);
    const [record] = maker.records;
    piece.dispose();
    maker.dispose();
    const parts = {
      ...{ 'Gram matrix': gram, eigenvectors: decomposed - gram, slices },
      'noise and rounding': seconds - decomposed - slices,
    };
    return { device: gpu?.description['adapter'] ?? `${lanes} lanes`, seconds, parts, record: record! };
  } finally {
    algebra.close();
    device.close();
  }
}

function told(title: string, seconds: number, parts: Readonly<Record<string, number>>): string {
  const list = Object.entries(parts).map(([name, each]) => `${name} ${each.toFixed(2)}`);
  return `${title}: ${seconds.toFixed(2)} s: ${list.join(', ')}`;
}

interface Torch {
  readonly name: string;
  readonly threads: number;
  readonly torch: string;
  readonly seconds: number;
  readonly parts: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly svd?: number;
}

async function torch(rows: number, columns: number, device: string, { print }: Context): Promise<Torch | null> {
  const python = process.env['ESPALIER_PYTHON'] ?? 'python3';
  const shape = ['--rows', `${rows}`, '--columns', `${columns}`, '--device', device];
  try {
    const { stdout } = await promisify(execFile)(python, ['bench/peers/torch_grow.py', ...shape, '--svd'], {
      cwd: fileURLToPath(new URL('../', import.meta.url)),
      maxBuffer: 1 << 24,
    });
    return JSON.parse(stdout.trim().split('\n').at(-1)!);
  } catch (error) {
    const reason = ((error as { stderr?: string }).stderr || (error as Error).message).trim().split('\n').pop();
    print(`PyTorch on ${device} is left out: ${reason}`);
    return null;
  }
}

const suite: Suite = {
  about:
    'growing one projection from end to end, beside torch.linalg  (--device webgpu,wasm --rows 4096 --columns 14336 --lanes N --torch cuda,cpu)',
  async run(context) {
    const { print, flags } = context;
    const [rows = 4096] = numbers(context, 'rows', [4096]);
    const [columns = 14336] = numbers(context, 'columns', [14336]);
    const [lanes = 1] = numbers(context, 'lanes', [availableParallelism()]);
    const listed = (name: string, fallback: string) => String(flags[name] ?? fallback).split(',');
    const w = await weights(rows, columns);
    print(header(machine()));
    print(`a projection of ${rows} x ${columns}, ${EXPERTS} experts, ${lanes} lanes`);
    const results: Grown[] = [];
    for (const name of listed('device', 'webgpu')) {
      if (name !== 'webgpu' && name !== 'wasm') throw new Error('--device takes webgpu, wasm, or both with a comma.');
      const gpu = name === 'webgpu' ? await openDigitDevice() : null;
      try {
        // kernels of a GPU are compiled when they are first used
        if (gpu) await grow(w.subarray(0, 64 * columns), 64, columns, lanes, gpu);
        results.push(await grow(w, rows, columns, lanes, gpu));
      } finally {
        gpu?.close();
      }
      const { device, seconds, parts, record } = results.at(-1)!;
      print(told(`${name}, ${device}`, seconds, parts));
      if (record.gpu) {
        const { gramError, sliceError, recomputed } = record.gpu;
        const again = recomputed.length > 0 ? `; computed again: ${recomputed.join(', ')}` : '';
        print(
          `  errors by probes: Gram ${gramError?.toExponential(1)}, slices ${sliceError?.toExponential(1)}${again}`,
        );
      }
    }
    const peers: Torch[] = [];
    for (const device of listed('torch', 'cuda,cpu')) {
      const peer = device === 'none' ? null : await torch(rows, columns, device, context);
      if (!peer) continue;
      peers.push(peer);
      print(told(`PyTorch ${peer.torch}, ${peer.name}, ${peer.threads} threads`, peer.seconds, peer.parts));
      const errors = Object.entries(peer.errors).map(([name, error]) => `${name} ${error.toExponential(1)}`);
      print(`  errors: ${errors.join(', ')}; torch.linalg.svd in f32: ${peer.svd?.toFixed(2)} s`);
    }
    return { machine: machine(), rows, columns, lanes, results, peers };
  },
};

export default suite;
