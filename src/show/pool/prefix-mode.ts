import type { PrefixMode } from '../types.ts';

/** What a mode means, whatever it is called. */
export interface ModeFacts {
  /** Whether a shot sees the begin-of-text token and the instruction while it is encoded. */
  readonly seesPrefix: boolean;
  /** Shots of a block, each of which sees those before it. */
  readonly block: number;
  /** First tokens of a placed shot that are computed again. */
  readonly repair: number;
  /** Whether the answer is computed from the plain text of the chosen shots. */
  readonly recompute: boolean;
}

const PREFIXED: ModeFacts = { seesPrefix: true, block: 1, repair: 0, recompute: false };

export function modeFacts(mode: PrefixMode): ModeFacts {
  if (typeof mode === 'object') {
    if ('blocks' in mode) return { ...PREFIXED, block: mode.blocks };
    if ('repair' in mode) return { ...PREFIXED, repair: mode.repair };
    throw mode satisfies never;
  }
  switch (mode) {
    case 'bare':
      return { ...PREFIXED, seesPrefix: false };
    case 'prefixed':
      return PREFIXED;
    case 'recompute':
      return { ...PREFIXED, recompute: true };
    default:
      throw mode satisfies never;
  }
}
