import type { Device } from '../../device/device.ts';
import { EspalierError } from '../../errors.ts';

/**
 * What one worker of a crew can do alone: a function of data, which crosses by transfer, and a device of its own. The coarse grain
 * of parallel work: a whole matrix, a whole example.
 */
export interface Tasks {
  /** C [m, n] = alpha · A [m, k] · B [k, n], row-major. */
  matmul(input: {
    readonly m: number;
    readonly n: number;
    readonly k: number;
    readonly a: Float32Array;
    readonly b: Float32Array;
    readonly alpha?: number;
  }): Float32Array;
}

export type TaskName = keyof Tasks;
export type TaskInput<K extends TaskName> = Parameters<Tasks[K]>[0];
export type TaskResult<K extends TaskName> = ReturnType<Tasks[K]>;

export const tasks: { [K in TaskName]: (device: Device, input: TaskInput<K>) => Promise<TaskResult<K>> } = {
  matmul: async (device, { m, n, k, a, b, alpha = 1 }) => {
    if (
      ![m, n, k].every((size) => Number.isSafeInteger(size) && size > 0) ||
      a.length !== m * k ||
      b.length !== k * n
    ) {
      throw new EspalierError(
        'E_SHAPE',
        `${a.length} and ${b.length} numbers are no [${m}, ${k}] and [${k}, ${n}].`,
        'Give sizes above 0 and as many numbers.',
      );
    }
    const mark = device.mark();
    try {
      const [left, right, out] = [
        device.scratch('f32', [m, k]),
        device.scratch('f32', [k, n]),
        device.scratch('f32', [m, n]),
      ];
      device.write(left, a);
      device.write(right, b);
      device.matmul(left, right, out, { alpha });
      return (await device.read(out)) as Float32Array;
    } finally {
      device.reset(mark);
    }
  },
};
