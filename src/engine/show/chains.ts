import { EspalierError } from '../../errors.ts';
import type { ChainOptions, ChainsOptions } from '../../show/place/options.ts';
import type { Shot } from '../../show/types.ts';
import type { Owned } from '../line/owned.ts';
import type { Model } from '../model/model.ts';
import { parted, setSource, shownModel } from './line.ts';
import type { ShowCalls } from './protocol.ts';

/** Chains of either kind: closing them is all that is done to them. */
class Chained {
  readonly #held: Owned<ShowCalls>;

  constructor(held: Owned<ShowCalls>) {
    this.#held = held;
    setSource(this, { held, callbacks: {} });
  }

  /** Frees keys and values. The model stays open. */
  close(): Promise<void> {
    return this.#held.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Shots in one order, read once under ordinary causal attention, in the engine's worker; as `Chain` of `espalier/show`. Every number of
 * them is exact, and a query costs its own tokens.
 */
export class Chain extends Chained {
  /**
   * @param model opened with `show: true`
   * @throws E_ARGUMENT, E_CONTEXT_LENGTH when the shots do not fit, E_OUT_OF_MEMORY, E_ABORTED, E_DISPOSED, E_WORKER_LOST
   */
  static async create(model: Model, shots: readonly Shot[], options: ChainOptions = {}): Promise<Chain> {
    const on = shownModel(model);
    const { data, ...rest } = parted(options, 'Chain.create');
    const { chain } = await on.call('chain', [on.number, shots, data], {
      ...rest,
      said: 'Chain.create',
      discard: ({ chain }) => on.link.drop(chain),
    });
    return new Chain(on.part(chain, closed));
  }
}

/** A chain for each cluster of shots that share words; as `Chains` of `espalier/show`. */
export class Chains extends Chained {
  /** @throws as `Chain.create`; E_ARGUMENT for no shots, or more than can be clustered (8192) */
  static async create(model: Model, shots: readonly Shot[], options: ChainsOptions = {}): Promise<Chains> {
    const on = shownModel(model);
    const { data, ...rest } = parted(options, 'Chains.create');
    const { chains } = await on.call('chains', [on.number, shots, data], {
      ...rest,
      said: 'Chains.create',
      discard: ({ chains }) => on.link.drop(chains),
    });
    return new Chains(on.part(chains, closed));
  }
}

/** How many of the first shots fit the model's context, with some room for a query. */
export async function fittingShots(model: Model, shots: readonly Shot[], instruction?: string): Promise<number> {
  const on = shownModel(model);
  return on.call('fitting', [on.number, shots, instruction]);
}

function closed(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The chain is closed.', 'Create another one.');
}
