/** Learning rates by step, as `get_scheduler` of transformers has them. */

export const SCHEDULES = ['linear', 'cosine', 'constant'] as const;
export type ScheduleKind = (typeof SCHEDULES)[number];

export interface Schedule {
  readonly kind: ScheduleKind;
  /** The rate behind the warm-up. */
  readonly peak: number;
  /** Steps in which it rises from 0. */
  readonly warmup: number;
  /** Steps in all: where linear and cosine reach 0. */
  readonly steps: number;
}

/**
 * The rate of a step, from 0 on. While it warms up peak · step / warmup, so that of the very first step is 0; then with p the share of the
 * steps behind the warm-up that are done: linear peak · (1 − p), cosine peak · ½ (1 + cos πp), constant peak.
 */
export function rateAt({ kind, peak, warmup, steps }: Schedule, step: number): number {
  if (step < warmup) return (peak * step) / warmup;
  const share = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  switch (kind) {
    case 'linear':
      return (peak * Math.max(0, steps - step)) / Math.max(1, steps - warmup);
    case 'cosine':
      return peak * 0.5 * (1 + Math.cos(Math.PI * share));
    case 'constant':
      return peak;
    default:
      return kind satisfies never;
  }
}

/** A number of steps, given as one or, below 1, as a share of all, rounded up. */
export function stepsOf(given: number, steps: number): number {
  return given < 1 ? Math.ceil(given * steps) : given;
}
