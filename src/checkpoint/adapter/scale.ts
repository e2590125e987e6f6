interface ScaledBy {
  readonly rank: number;
  readonly alpha: number;
  readonly rslora: boolean;
}

/** What (x Aᵀ) Bᵀ is multiplied by: alpha / rank, or by rsLoRA alpha / √rank. */
export function loraScale({ rank, alpha, rslora }: ScaledBy): number {
  return alpha / (rslora ? Math.sqrt(rank) : rank);
}
