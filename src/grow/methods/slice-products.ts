import type { Device, Tensor } from '../../device/device.ts';
import { throwIfAborted } from '../../errors.ts';
import { Pace } from '../../runtime/host/yielding.ts';
import type { Basis } from './spectrum.ts';

/** What a slice is made of, on one device. */
export interface SliceGround {
  /** [rows, columns] */
  readonly w: Tensor;
  /** As in `Basis`: [count, n], and [count, N] or null. */
  readonly own: Tensor;
  readonly other: Tensor | null;
}

/** A basis on a device. @throws E_OUT_OF_MEMORY; nothing stays there then */
export function holdBasis(device: Device, { own, other, bounds }: Basis): Omit<SliceGround, 'w'> {
  const count = bounds.at(-1)!;
  const hold = (values: Float32Array): Tensor => {
    const t = device.tensor('f32', [count, values.length / count]);
    device.write(t, values);
    return t;
  };
  const held = hold(own);
  try {
    return { own: held, other: other && hold(other) };
  } catch (error) {
    held.dispose();
    throw error;
  }
}

/**
 * R = U U^T W of basis vectors `from` to `to` - 1 into `slice` [rows, columns], or (W V) V^T where W is tall, by products in f32.
 * @param step basis vectors of a product
 * @throws E_ABORTED
 */
export async function computeSlice(
  device: Device,
  { w, own, other }: SliceGround,
  [from, to]: readonly [from: number, to: number],
  slice: Tensor,
  { step, signal }: { readonly step: number; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const [rows, columns] = w.shape as [number, number];
  const pace = new Pace();
  for (let first = from; first < to; first += step) {
    const count = Math.min(step, to - first);
    const accumulate = first > from;
    const mark = device.mark();
    const vectors = device.rows(own, first, count);
    if (rows <= columns) {
      let across: Tensor;
      if (other) across = device.rows(other, first, count);
      else {
        across = device.scratch('f32', [count, columns]);
        device.matmul(vectors, w, across);
      }
      device.matmul(vectors, across, slice, { transposeA: true, accumulate });
    } else if (other) {
      device.matmul(device.rows(other, first, count), vectors, slice, { transposeA: true, accumulate });
    } else {
      const across = device.scratch('f32', [rows, count]);
      device.matmul(w, vectors, across, { transposeB: true });
      device.matmul(across, vectors, slice, { accumulate });
    }
    device.reset(mark);
    await pace.breathe();
    throwIfAborted(signal);
  }
}
