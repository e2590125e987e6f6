import { EspalierError } from '../../errors.ts';
import { scalingKind } from '../rope/scalings.ts';
import type { ModelConfig, RopeConfig } from '../types.ts';

/**
 * A configuration with room for so many positions: fewer than the model has, or, of models with dynamic NTK scaling, up to `factor` times
 * as many, with the frequencies that belong to that length. Those are the ones that Hugging Face transformers computes for a text of just
 * this length. It changes them with every text's length, and in vLLM they are always those of the greatest length; here they stay as they
 * are for one open model, so that keys can be moved and reused.
 * @throws E_ARGUMENT
 */
export function withContext(config: ModelConfig, length: number | undefined): ModelConfig {
  if (length === undefined) return config;
  const { scaling } = config.rope;
  const { longer } = scalingKind(scaling);
  const most = Math.max(longer?.most(scaling) ?? 0, config.maxPositions);
  if (!(Number.isSafeInteger(length) && length >= 1 && length <= most)) {
    throw new EspalierError(
      'E_ARGUMENT',
      `A context of ${String(length)} positions is wanted, and the model can have ${most}.`,
      `Give contextLength from 1 to ${most}, or leave it out.`,
    );
  }
  const stretchedTo = (rope: RopeConfig): RopeConfig => {
    const { longer: own } = scalingKind(rope.scaling);
    return own ? { ...rope, scaling: own.at(rope.scaling, length) } : rope;
  };
  const { localRope } = config;
  return {
    ...config,
    maxPositions: length,
    rope: stretchedTo(config.rope),
    ...(localRope && { localRope: stretchedTo(localRope) }),
  };
}
