import type { Tensor } from '../../device/device.ts';
import type { ExactDevice } from '../../device/exact-device.ts';
import { EspalierError } from '../../errors.ts';
import type { GrowPlan } from '../types.ts';
import { normals, PURPOSE, streamOf, uniforms } from './noise.ts';

/**
 * Rows of a router [experts, hidden] f32 by the plan's law (`RouterInit`):
 *
 * - normal: N(0, std), transformers' `initializer_range` with 0.02; standard-normal: N(0, 1)
 * - uniform: of that standard deviation, so within std · sqrt 3
 * - kaiming-uniform (with a = sqrt 5) and inverse-sqrt-uniform: both within 1 / sqrt hidden
 * - orthogonal: rows of length 1, at right angles, by Gram and Schmidt in f64, twice
 *
 * virtual-group: one row a copy, which its shards share.
 * @throws E_ARGUMENT for more orthogonal rows than hidden
 */
export async function routerRows(
  device: ExactDevice,
  plan: GrowPlan,
  layer: number,
  experts: number,
  hidden: number,
): Promise<Float32Array> {
  const { router, seed } = plan;
  checkRouter(plan, experts, hidden);
  const tied = tiedRows(plan);
  const drawn = Math.ceil(experts / tied);
  const rows = await draw();
  if (tied === 1) return rows;
  const to = new Float32Array(experts * hidden);
  for (let e = 0; e < experts; e++) {
    const copy = Math.floor(e / tied);
    to.set(rows.subarray(copy * hidden, (copy + 1) * hidden), e * hidden);
  }
  return to;

  async function draw(): Promise<Float32Array> {
    const count = drawn * hidden;
    const stream = streamOf(layer, 0, PURPOSE.router);
    switch (router.kind) {
      case 'normal':
      case 'standard-normal': {
        const std = router.kind === 'normal' ? router.std : 1;
        return (await normals(device, count, seed, stream)).map((x) => x * std);
      }
      case 'uniform':
        return within(router.std * Math.sqrt(3));
      case 'kaiming-uniform':
      case 'inverse-sqrt-uniform':
        return within(1 / Math.sqrt(hidden));
      case 'orthogonal':
        return orthogonal(Float64Array.from(await normals(device, count, seed, stream)), drawn, hidden);
      default:
        throw router satisfies never;
    }

    function within(bound: number): Float32Array {
      return Float32Array.from(uniforms(count, seed, stream), (x) => (2 * x - 1) * bound);
    }
  }
}

/** Experts that share a row. */
function tiedRows(plan: GrowPlan): number {
  return plan.method === 'virtual-group' ? plan.granularity : 1;
}

/** @throws E_ARGUMENT for more orthogonal rows than hidden */
export function checkRouter(plan: GrowPlan, experts: number, hidden: number): void {
  const rows = Math.ceil(experts / tiedRows(plan));
  if (plan.router.kind !== 'orthogonal' || rows <= hidden) return;
  throw new EspalierError(
    'E_ARGUMENT',
    `${rows} rows of ${hidden} numbers cannot be orthogonal.`,
    'Use another `router`, such as normal.',
  );
}

function orthogonal(x: Float64Array, rows: number, columns: number): Float32Array {
  for (let i = 0; i < rows; i++) {
    const row = x.subarray(i * columns, (i + 1) * columns);
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const other = x.subarray(j * columns, (j + 1) * columns);
        const share = dot(row, other);
        for (let c = 0; c < columns; c++) row[c]! -= share * other[c]!;
      }
    }
    const length = Math.sqrt(dot(row, row));
    for (let c = 0; c < columns; c++) row[c]! /= length;
  }
  return Float32Array.from(x);
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

/** f32 numbers as bytes of a type, rounded to nearest even. */
export async function asBytes(
  device: ExactDevice,
  values: Float32Array,
  type: 'f32' | 'f16' | 'bf16',
): Promise<Uint8Array> {
  const tensors: Tensor[] = [device.tensor('f32', [values.length]), device.tensor(type, [values.length])];
  const [from, to] = tensors as [Tensor, Tensor];
  try {
    device.write(from, values);
    device.cast(from, to);
    return new Uint8Array((await device.read(to)).buffer);
  } finally {
    for (const t of tensors) t.dispose();
  }
}
