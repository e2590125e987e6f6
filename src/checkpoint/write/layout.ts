import { type Shard, type TensorSpec, tensorBytes } from './shards.ts';

/** Where a run begins to write: the shards before are whole, of this one the first bytes are there. */
export interface Place {
  readonly shard: number;
  readonly keep: number;
}

/** Bytes of a tensor in a file. */
export interface Range {
  readonly shard: number;
  readonly offset: number;
  readonly bytes: number;
}

/** Where everything lies. Positions count the bytes of all shards, one behind the other. */
export interface Layout {
  readonly shards: readonly Shard[];
  readonly total: number;
  /** By group and tensor: the number of its shard. */
  readonly shardsOf: readonly (readonly number[])[];
  /** Behind so many groups. */
  end(groups: number): number;
  /** Where a group's tensors lie, in their order. */
  readonly rangesOf: readonly (readonly Range[])[];
  /** Where writing begins when so many groups are there. */
  place(groups: number): Place;
}

export function layOut(
  groups: readonly { readonly tensors: readonly TensorSpec[] }[],
  shards: readonly Shard[],
): Layout {
  const starts: number[] = [];
  let total = 0;
  for (const shard of shards) {
    starts.push(total);
    total += shard.bytes;
  }
  const order = shards.flatMap((shard, index) => shard.tensors.map(() => index));
  const firsts: number[] = [0]; // of each group, the number of its first tensor
  const ends: number[] = [0];
  let last = -1;
  let position = 0;
  const rangesOf: Range[][] = [];
  const shardsOf = groups.map((group) => {
    const ranges: Range[] = [];
    const own = group.tensors.map((tensor, i) => {
      const shard = order[firsts.at(-1)! + i]!;
      if (shard !== last) position = starts[shard]! + shards[shard]!.header.byteLength;
      last = shard;
      ranges.push({ shard, offset: position - starts[shard]!, bytes: tensorBytes(tensor) });
      position += tensorBytes(tensor);
      return shard;
    });
    rangesOf.push(ranges);
    firsts.push(firsts.at(-1)! + own.length);
    ends.push(position);
    return own;
  });
  const place = (count: number): Place => {
    const shard = order[firsts[count]!] ?? (order.length === 0 ? 0 : shards.length);
    // the next tensor may be the first of its shard
    return { shard, keep: Math.max(0, ends[count]! - (starts[shard] ?? total)) };
  };
  return { shards, total, shardsOf, rangesOf, end: (count) => ends[count]!, place };
}
