import type { Device, Tensor } from '../../device/device.ts';
import { exclusive } from '../../device/exclusive.ts';
import { throwIfAborted } from '../../errors.ts';
import { ByteDigest } from '../../runtime/files/byte-digest.ts';
import { Pace } from '../../runtime/host/yielding.ts';

/** Bytes that are read from the device at a time. */
const PIECE = 4 << 20;

/**
 * SHA-256 (`ByteDigest`) of what a tensor holds on its device: f32 rows as they are; of panels, whose layout is the device's own, the f32
 * values that products are made with, row by row.
 * @throws E_ABORTED between pieces of 4 MiB, E_OUT_OF_MEMORY, E_DISPOSED
 */
export async function tensorDigest(device: Device, tensor: Tensor, signal?: AbortSignal): Promise<string> {
  const digest = new ByteDigest();
  const pace = new Pace();
  const { shape, layout } = tensor;
  const width = shape.at(-1)!;
  const most = Math.max(1, Math.floor(PIECE / (4 * width)));
  const stacks = layout === 'panels' && shape.length === 3 ? shape[0]! : null;
  const matrices = stacks === null ? [tensor] : Array.from({ length: stacks }, (_, i) => device.matrix(tensor, i));
  for (const matrix of matrices) {
    const rows = shape.length === 1 ? 1 : matrix.shape.at(-2)!;
    for (let first = 0; first < rows; first += most) {
      throwIfAborted(signal);
      const count = Math.min(most, rows - first);
      const bytes = await exclusive(device, () => {
        if (layout === 'panels') return values(device, matrix, first, count);
        return device.readBytes(shape.length === 1 ? matrix : device.rows(matrix, first, count));
      });
      await digest.update(bytes);
      await pace.breathe();
    }
  }
  return digest.hex();
}

async function values(device: Device, panels: Tensor, first: number, count: number): Promise<Uint8Array> {
  const mark = device.mark();
  try {
    const ids = device.scratch('i32', [count]);
    device.write(
      ids,
      Int32Array.from({ length: count }, (_, i) => first + i),
    );
    const rows = device.scratch('f32', [count, panels.shape.at(-1)!]);
    device.embed(ids, panels, rows);
    return await device.readBytes(rows);
  } finally {
    device.reset(mark);
  }
}
