import type { Tensor } from '../device/device.ts';
import type { DigitDevice } from '../device/digit-device.ts';
import { EspalierError } from '../errors.ts';
import { checkMatrix } from './input.ts';
import type { GramOptions } from './options.ts';
import { Steps } from './steps.ts';

/** Digits of a number: down to 2^-64 of its row's largest. */
const DIGITS = 8;
/** Terms of a product: so many products of two digits come to 2^24 at most, up to where f32 has every whole number. */
const DEPTH = 1024;
/** Sums of up to 2^24 that 32 bits hold. */
const MOST_SUMS = 127;
/** Bytes of the rows of the result that are computed at a time, in whole numbers of 32 bits. */
const PANEL = 64 << 20;

/**
 * A A^T or A^T A in f64 of numbers in f32, on a device whose products are f32 (Ozaki, Ogita, Oishi and Rump 2012). Each number is cut into digits below 2^e,
 * the least power of two that no number of its row (column) exceeds: a = 2^e Σ_s q_s 2^(-7 - 8 s), |q_s| <= 128. A product of two matrices of digits has whole
 * numbers up to 2^24, which f32 has all of: no order of adding changes it, and no fused addition. They are added up in 32-bit integers, and these
 * in f64. Pairs of digits s + t >= 8 are left out.
 *
 * Of K terms the error is at most 2 · 2^-53 |(i, j)| + K 2^(e_i + e_j - 58) + 10 K 2^(e_i + e_j - 64), which is below (2^-52 + 1.2 K 2^-56) |a_i| |a_j|
 * for any numbers: less than is allowed to plain sums in f64, K 2^-53 |a_i| |a_j|.
 *
 * @param a the numbers, for their exponents
 * @param x the same on the device, f32 [rows, columns]
 * @throws as `LinearAlgebra.gram`, and what the device throws
 */
export async function gramByDigits(
  device: DigitDevice,
  a: Float32Array,
  x: Tensor,
  options: GramOptions,
): Promise<Float64Array> {
  const { rows, columns, side } = options;
  checkMatrix(a, rows, columns);
  const steps = new Steps(options);
  const along = side === 'left' ? 'rows' : 'columns';
  const [n, depth] = side === 'left' ? [rows, columns] : [columns, rows];
  const exponents = exponentsOf(a, rows, columns, along);
  const panel = Math.min(n, Math.max(1, Math.floor(PANEL / (4 * n))));
  const held = [device.tensor('i32', [n]), device.tensor('f32', [panel, n]), device.tensor('i32', [panel, n])] as const;
  const [on, products, sums] = held;
  // entries (i, j) and (j, i) come to the result
  const parts = new Float64Array(n * n);
  try {
    device.write(on, exponents);
    for (let top = 0; top < n; top += panel) {
      const height = Math.min(panel, n - top);
      const product = device.rows(products, 0, height);
      const sum = device.rows(sums, 0, height);
      // the least first
      for (let order = DIGITS - 1; order >= 0; order--) {
        let summed = 0;
        const collect = async (): Promise<void> => {
          addScaled(parts, top * n, (await device.read(sum)) as Int32Array, 2 ** -(15 + 8 * order));
          summed = 0;
        };
        for (let first = 0; first < depth; first += DEPTH) {
          const count = Math.min(DEPTH, depth - first);
          const mark = device.mark();
          const digits = Array.from({ length: order + 1 }, (_, place) => {
            const out = device.scratch('f32', [n, count]);
            device.takeDigit({ x, along, exponents: on, first, place, out });
            return out;
          });
          for (let s = 0; 2 * s <= order; s++) {
            const t = order - s;
            // twice for t, s as well: half of each stands at (i, j), half at (j, i)
            const factor = s === t ? 1 : 2;
            if (summed + factor > MOST_SUMS) await collect();
            device.matmul(device.rows(digits[s]!, top, height), digits[t]!, product, { transposeB: true });
            device.addWhole(product, sum, { factor, accumulate: summed > 0 });
            summed += factor;
          }
          device.reset(mark);
        }
        await collect();
        await steps.step((top + (height * (DIGITS - order)) / DIGITS) / n);
      }
    }
  } finally {
    for (const t of held) t.dispose();
  }
  return symmetric(parts, n, exponents);
}

/** Of each row or column the least e with |a| <= 2^e, of zeros 0. @throws E_TENSOR_VALUE for NaN and infinity */
function exponentsOf(a: Float32Array, rows: number, columns: number, along: 'rows' | 'columns'): Int32Array {
  const bits = new Uint32Array(a.buffer, a.byteOffset, a.length);
  const most = new Uint32Array(along === 'rows' ? rows : columns);
  // magnitudes are in the order of their bits
  for (let i = 0; i < rows; i++) {
    const at = i * columns;
    if (along === 'rows') {
      let own = 0;
      for (let j = 0; j < columns; j++) own = Math.max(own, bits[at + j]! & 0x7fffffff);
      most[i] = own;
    } else for (let j = 0; j < columns; j++) most[j] = Math.max(most[j]!, bits[at + j]! & 0x7fffffff);
  }
  return Int32Array.from(most, (own) => {
    const field = own >>> 23;
    if (field === 255) {
      throw new EspalierError('E_TENSOR_VALUE', 'The matrix has NaN or infinity in it.', 'Look where it comes from.');
    }
    if (own === 0) return 0;
    return field > 0 ? field - 126 : 32 - Math.clz32(own) - 149;
  });
}

function addScaled(to: Float64Array, at: number, values: Int32Array, scale: number): void {
  for (let i = 0; i < values.length; i++) to[at + i]! += values[i]! * scale;
}

/** (parts + partsᵀ) 2^(e_i + e_j), in place; by blocks, since a column's numbers lie far apart. */
function symmetric(parts: Float64Array, n: number, exponents: Int32Array): Float64Array {
  const block = 64;
  for (let top = 0; top < n; top += block) {
    for (let left = top; left < n; left += block) {
      for (let i = top; i < Math.min(top + block, n); i++) {
        for (let j = Math.max(left, i); j < Math.min(left + block, n); j++) {
          const value = (parts[i * n + j]! + parts[j * n + i]!) * 2 ** (exponents[i]! + exponents[j]!);
          parts[i * n + j] = parts[j * n + i] = value;
        }
      }
    }
  }
  return parts;
}
