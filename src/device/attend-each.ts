import type { Device, StepArguments, Tensor } from './device.ts';

/** `attendEach` by other operations: what it means, and what is done where a device has no better way. Checks have run. */
export function attendEachApart(device: Device, args: StepArguments): void {
  const { q, k, v, out, table, rotation, sequences, nHeads, nKvHeads, headDim, scale, window } = args;
  const mark = device.mark();
  if (table && rotation.rotaryDims > 0) {
    const positions = device.scratch('i32', [sequences.length]);
    device.write(
      positions,
      Int32Array.from(sequences, ({ position }) => position),
    );
    device.rope(q, table, positions, { ...rotation, heads: nHeads, headDim });
    device.rope(k, table, positions, { ...rotation, heads: nKvHeads, headDim });
  }
  const heads = { nHeads, nKvHeads, headDim, scale, window, mask: null };
  for (const [i, { keys, values, base }] of sequences.entries()) {
    const row = (t: Tensor): Tensor => (sequences.length === 1 ? t : device.rows(t, i, 1));
    device.copyRows(row(k), keys, base);
    device.copyRows(row(v), values, base);
    device.attention({ q: row(q), keys, values, out: row(out), base, ...heads });
  }
  device.reset(mark);
}
