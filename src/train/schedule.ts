/**
 * Learning rates by step. They are those of `get_scheduler` of transformers with one more step of warm-up and in all, whose first, of rate 0, is
 * left out: no step is for nothing, as nanoGPT and torchtitan have it.
 */

import { type Rule, real } from '../options/rules.ts';

export const SCHEDULES = ['linear', 'cosine', 'constant'] as const;
export type ScheduleKind = (typeof SCHEDULES)[number];

/** A learning rate: what devices multiply by in f32. With a smaller one nothing would be learned. */
export const rateRule: Rule<number> = real(2 ** -126, (2 - 2 ** -23) * 2 ** 127, {
  takes: 'a number above 0, of those that f32 can hold',
});

export interface Schedule {
  readonly kind: ScheduleKind;
  /** The rate behind the warm-up. */
  readonly peak: number;
  /** Steps in which it rises, below the peak. */
  readonly warmup: number;
  /** Steps in all: linear and cosine would be 0 in the one behind them. */
  readonly steps: number;
}

/**
 * The rate of a step, from 0 on; it is never 0. While it warms up peak · (step + 1) / (warmup + 1); then with p the share of the steps behind the
 * warm-up that are done: linear peak · (1 − p), cosine peak · ½ (1 + cos πp), constant peak.
 */
export function rateAt({ kind, peak, warmup, steps }: Schedule, step: number): number {
  if (step < warmup) return (peak * (step + 1)) / (warmup + 1);
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
