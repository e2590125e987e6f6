import { EspalierError } from '../../errors.ts';

interface ScaledBy {
  readonly rank: number;
  readonly alpha: number;
  readonly rslora: boolean;
}

/** What (x Aᵀ) Bᵀ is multiplied by: alpha / rank, or by rsLoRA alpha / √rank. */
export function loraScale({ rank, alpha, rslora }: ScaledBy): number {
  return alpha / (rslora ? Math.sqrt(rank) : rank);
}

/** The same of an adapter that is to be made. @throws E_ARGUMENT where it is 0 or no number in f32: such an adapter would do nothing, or break all */
export function checkedScale(given: ScaledBy): number {
  const scale = loraScale(given);
  const rounded = Math.fround(scale);
  if (rounded > 0 && rounded < Number.POSITIVE_INFINITY) return scale;
  throw new EspalierError(
    'E_ARGUMENT',
    `alpha is ${given.alpha}, and the adapter would be multiplied by ${rounded}.`,
    'Give one near the rank.',
  );
}
