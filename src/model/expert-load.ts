import type { ModelConfig } from '../checkpoint/types.ts';
import { exclusive } from '../device/exclusive.ts';
import { EspalierError } from '../errors.ts';
import type { Decoder } from './decoder.ts';
import { checkComputed } from './finite.ts';
import type { ExpertLoadOptions } from './options.ts';

/** How the tokens of one layer were shared out among its experts. */
export interface LayerLoad {
  readonly layer: number;
  /** Tokens that each expert had, [experts]; they sum to tokens · topK. */
  readonly counts: readonly number[];
  /** The same as shares of their sum. */
  readonly shares: readonly number[];
  /** Entropy of the shares in nats, and as a share of its maximum ln(experts); 1: perfectly even. */
  readonly entropy: number;
  readonly evenness: number;
  readonly smallestShare: number;
  readonly largestShare: number;
  /** Experts that had no token. */
  readonly unused: readonly number[];
}

/** Counts of tokens by layer and expert, over any number of forward passes: pass `add` as `onExperts`. */
export class ExpertLoad {
  readonly #counts = new Map<number, Float64Array>();
  readonly #experts: number;

  /** @throws E_ARGUMENT where the model has no experts */
  constructor(config: Pick<ModelConfig, 'moe'>) {
    if (!config.moe) {
      throw new EspalierError('E_ARGUMENT', 'The model has no experts.', 'Open a mixture of experts.');
    }
    this.#experts = config.moe.experts;
    for (const layer of config.moe.layers) this.#counts.set(layer, new Float64Array(this.#experts));
  }

  /** Bound, so that it can be handed over as it is. */
  readonly add = (layer: number, counts: ArrayLike<number>): void => {
    const sums = this.#counts.get(layer);
    if (sums?.length !== counts.length) {
      throw new EspalierError(
        'E_ARGUMENT',
        `Layer ${layer} does not have ${counts.length} experts.`,
        'Count the experts of one model only.',
      );
    }
    for (let e = 0; e < sums.length; e++) sums[e]! += counts[e]!;
  };

  /** Every layer with experts, ascending. Shares of a layer that has seen no token are 0. */
  layers(): LayerLoad[] {
    return [...this.#counts].map(([layer, counts]) => {
      const total = counts.reduce((sum, count) => sum + count, 0);
      const shares = Array.from(counts, (count) => (total === 0 ? 0 : count / total));
      const entropy = shares.reduce((sum, share) => (share > 0 ? sum - share * Math.log(share) : sum), 0);
      return {
        layer,
        counts: [...counts],
        shares,
        entropy,
        evenness: this.#experts === 1 ? 1 : entropy / Math.log(this.#experts),
        // not by spreading: there may be more experts than a call takes arguments
        smallestShare: shares.reduce((least, share) => Math.min(least, share)),
        largestShare: shares.reduce((most, share) => Math.max(most, share)),
        unused: shares.flatMap((share, e) => (share === 0 ? [e] : [])),
      };
    });
  }
}

/** @throws E_ARGUMENT where the model has no experts, E_CONTEXT_LENGTH, E_ABORTED, E_OUT_OF_MEMORY, E_TENSOR_VALUE as `scoreTokens` */
export async function expertLoad(
  decoder: Decoder,
  ids: readonly number[],
  options: ExpertLoadOptions = {},
): Promise<ExpertLoad> {
  const load = new ExpertLoad(decoder.config);
  await exclusive(decoder.device, async () => {
    const cache = decoder.cache();
    try {
      await decoder.forward(ids, cache, {
        ...options,
        onExperts: async (layer, counts, { logits }) => {
          // NaN would choose experts too
          checkComputed((await decoder.device.read(logits)) as Float32Array, `router logits in layer ${layer}`);
          load.add(layer, counts);
        },
      });
    } finally {
      cache.dispose();
    }
  });
  return load;
}
