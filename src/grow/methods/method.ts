import type { Tensor } from '../../device/device.ts';
import type { DigitDevice } from '../../device/digit-device.ts';
import type { ExactDevice } from '../../device/exact-device.ts';
import type { LinearAlgebra } from '../../svd/linear-algebra.ts';
import type { GrowPlan, Projection, ProjectionRecord } from '../types.ts';

/** What a layer is grown from. */
export interface LayerSource {
  /** Of `relaxed: false` where the result is to be the same bits in every runtime. */
  readonly device: ExactDevice;
  /** Over the same device, or another memory. */
  readonly algebra: LinearAlgebra;
  /** Computes Gram matrices and slices where it is given; all else the device. */
  readonly gpu?: DigitDevice | null;
  readonly plan: GrowPlan;
  /** Zero-based. */
  readonly layer: number;
  /** Hidden size d, and inner size m of the dense feed-forward. */
  readonly hidden: number;
  readonly intermediate: number;
  /** The dense matrix as f32: gate and up [m, d], down [d, m]. */
  read(projection: Projection): Promise<Float32Array>;
  readonly signal?: AbortSignal | undefined;
}

/** How one method makes the routed experts of a layer. */
export interface Maker {
  /** Whether an expert's projection is the dense one as it is. */
  copied(expert: number, projection: Projection): boolean;
  /** What the shared expert's down projection is multiplied by, a power of two. */
  readonly sharedScale: number;
  readonly records: readonly ProjectionRecord[];
  /** Fills `to` [count, columns] with rows of an expert's projection, from row `first` on. Cheapest in the order of experts. */
  make(expert: number, projection: Projection, first: number, to: Tensor): Promise<void>;
  dispose(): void;
}

/** [rows, columns] of a projection. @param size neurons of the expert */
export function shapeOf(projection: Projection, hidden: number, size: number): [rows: number, columns: number] {
  return projection === 'down' ? [hidden, size] : [size, hidden];
}
