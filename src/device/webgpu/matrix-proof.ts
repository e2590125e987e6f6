/** Whether matrix units compute what they should: experimental in every host, and of a driver that nobody has seen. */
import type { Device, WeightSource } from '../device.ts';
import { multiply } from './matrix-product.ts';
import type { MatrixUnits, MatrixWay } from './matrix-units.ts';
import { operandOf } from './operand.ts';
import type { GpuTensor } from './tensor.ts';
import type { GpuParts } from './tensor-store.ts';

/**
 * Computes a small product by every way that may be chosen, tails included, of whole numbers whose sums are exact: a right one has no error. What refuses
 * to compile, or is wrong, keeps the units from being used.
 * @param device on which it is tried, and which may be spoilt by it
 */
export async function prove(units: MatrixUnits, parts: GpuParts, device: Device): Promise<void> {
  try {
    for (const way of units.ways) {
      for (const k of [3 * way.panel, 2 * way.panel + 5]) {
        if (await isRight(parts, device, way, k)) continue;
        units.refused = `tiles of ${way.m}x${way.n} compute something else`;
        return;
      }
    }
    units.proved = true;
  } catch (error) {
    units.refused = (error as Error).message.split('\n', 1)[0]!;
  }
}

async function isRight(parts: GpuParts, device: Device, way: MatrixWay, k: number): Promise<boolean> {
  const [m, n] = [way.m + 3, way.n + 4];
  const [x, w] = [wholes(m * k, 5), wholes(n * k, 11)];
  // rows of every size: a power of two that their scale takes out
  const given = x.map((value, i) => value * sizeOf(Math.floor(i / k)));
  const weight = await device.loadMatrix(source(n, k, w));
  const [rows, out] = [device.tensor('f32', [m, k]), device.tensor('f32', [m, n])];
  device.write(rows, given);
  multiply(parts, operandOf(rows), [{ weight: operandOf(weight), out: out as GpuTensor }], () => way);
  const got = (await device.read(out)) as Float32Array;
  for (const t of [weight, rows, out]) t.dispose();
  for (let r = 0; r < m; r++) {
    for (let c = 0; c < n; c++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += x[r * k + i]! * w[c * k + i]!;
      if (got[r * n + c] !== sum * sizeOf(r)) return false;
    }
  }
  return true;
}

const sizeOf = (row: number): number => 2 ** ((row % 7) * 12 - 36);

/** Whole numbers from -8 to 8 that repeat late. */
function wholes(count: number, seed: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => ((Math.imul(i + seed, 0x9e3779b1) >>> 7) % 17) - 8);
}

function source(rows: number, columns: number, values: Float32Array): WeightSource {
  const halves = Uint16Array.from(values, halfOf);
  const bytes = new Uint8Array(halves.buffer);
  return {
    ...{ name: 'proof', type: 'f16', rows, columns, order: null, orderGroup: rows },
    read: async (first, target) => target.set(bytes.subarray(2 * first * columns, 2 * first * columns + target.length)),
  };
}

/** Of a whole number up to 8. */
function halfOf(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = (Math.abs(value) / 2 ** exponent - 1) * 1024;
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}
