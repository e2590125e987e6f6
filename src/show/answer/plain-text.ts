import { exclusive } from '../../device/exclusive.ts';
import type { KvCache } from '../../model/kv-cache.ts';
import type { LocalModel } from '../../model/model.ts';
import type { Continuation } from '../place/context.ts';
import { runBranches } from '../probe/branches.ts';
import type { RunBranches } from '../probe/label-probe.ts';

/** A text under ordinary causal attention, computed once. */
export interface PlainText {
  readonly length: number;
  /** Branches behind all of it, whatever count they name. */
  readonly run: RunBranches;
  continuation(): Continuation;
  close(): void;
}

/** @throws E_CONTEXT_LENGTH, E_OUT_OF_MEMORY, E_ABORTED */
export function openPlainText(model: LocalModel, ids: readonly number[], signal?: AbortSignal): Promise<PlainText> {
  const { decoder, device } = model;
  return exclusive(device, async () => {
    const cache: KvCache = decoder.cache(0, Number.MAX_SAFE_INTEGER);
    try {
      if (ids.length > 0) await decoder.forward(ids, cache, { output: 'last', signal });
    } catch (error) {
      cache.dispose();
      throw error;
    }
    const shots = { first: 0, end: ids.length };
    return {
      length: ids.length,
      run: (list, use) =>
        exclusive(device, () => {
          const plans = list.map((branch) => ({ ids: branch.ids, position: ids.length, shots, others: [] }));
          return runBranches(decoder, cache, plans, use, { factor: 1, signal });
        }),
      continuation: () => {
        return { own: true, cache, position: ids.length, options: () => ({}), end: () => cache.truncate(ids.length) };
      },
      close: () => cache.dispose(),
    };
  });
}
