import type { ModelConfig } from '../checkpoint/types.ts';
import type { Device, Tensor } from '../device/device.ts';
import { type MixtureBuffers, mixtureBuffers } from './experts.ts';
import type { FeedForwardBuffers } from './feed-forward.ts';

/** Scratch of one chunk of t tokens. */
export interface Buffers {
  readonly positions: Tensor; // [t, 1] i32
  readonly mask: Tensor | null; // [t, 3] or [t, 6] i32
  readonly windowMask: Tensor | null; // as mask
  readonly split: Tensor | null; // as mask
  readonly table: Tensor; // [positions, 2, rotaryDims/2]
  readonly hidden: Tensor; // [t, hidden]: the residual stream
  readonly normed: Tensor; // [t, hidden]
  readonly q: Tensor; // [t, nHeads · headDim]
  readonly k: Tensor; // [t, nKvHeads · headDim]
  readonly v: Tensor; // [t, nKvHeads · headDim]
  readonly attended: Tensor; // [t, nHeads · headDim]
  readonly delta: Tensor; // [t, hidden]
  readonly dense: FeedForwardBuffers | null; // of the intermediate size; null where every layer has experts
  readonly mixture: MixtureBuffers | null;
}

/** The last `count` rows of every buffer but the table, and buffers of so many rows for the feed-forward, which keeps none. */
export function lastRows(device: Device, config: ModelConfig, b: Buffers, count: number): Buffers {
  const rows = (t: Tensor) => device.rows(t, t.shape[0]! - count, count);
  return {
    positions: rows(b.positions),
    mask: b.mask && rows(b.mask),
    windowMask: b.windowMask && rows(b.windowMask),
    split: b.split && rows(b.split),
    table: b.table,
    hidden: rows(b.hidden),
    normed: rows(b.normed),
    q: rows(b.q),
    k: rows(b.k),
    v: rows(b.v),
    attended: rows(b.attended),
    delta: rows(b.delta),
    dense: b.dense && { gate: rows(b.dense.gate), up: rows(b.dense.up) },
    mixture: config.moe && mixtureBuffers(device, count, config.hiddenSize, config.moe),
  };
}
