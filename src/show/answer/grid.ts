import { EspalierError } from '../../errors.ts';
import type { Grid } from '../types.ts';

/**
 * Counts to try, in rounds, each ascending and above the one before. Never more than `cap`; where the whole grid lies above it, the cap
 * itself is tried.
 * @throws E_ARGUMENT
 */
export function roundsOf(grid: Grid, cap: number): readonly (readonly number[])[] {
  const rounds = plan(grid)
    .map((round) => round.filter((count) => count <= cap))
    .filter((round) => round.length > 0);
  const most = Math.max(-1, ...rounds.flat());
  if (most <= 0 && cap > 0) return [[...rounds.flat(), cap]];
  return rounds.length > 0 ? rounds : [[0]];
}

/** The largest count that a grid asks for. */
export function mostOf(grid: Grid): number {
  return Math.max(...plan(grid).flat());
}

function plan(grid: Grid): readonly (readonly number[])[] {
  const whole = (value: number, name: string, least: number): number => {
    if (Number.isSafeInteger(value) && value >= least && value <= 1e6) return value;
    throw new EspalierError(
      'E_ARGUMENT',
      `${name} of the grid is ${String(value)}.`,
      `Give an integer from ${least} on.`,
    );
  };
  if (isList(grid)) {
    for (const count of grid) whole(count, 'A count', 0);
    if (grid.length === 0) throw new EspalierError('E_ARGUMENT', 'The grid is empty.', 'Give one count or more.');
    return [[...new Set(grid)].sort((a, b) => a - b)];
  }
  const most = whole(grid.most ?? 128, 'most', 1);
  const list: number[] = grid.zero ? [0] : [];
  let rounds = Number.POSITIVE_INFINITY;
  if (grid.kind === 'geometric') {
    for (let count = whole(grid.first ?? 4, 'first', 1); count <= most; count *= 2) list.push(count);
  } else if (grid.kind === 'arithmetic') {
    const step = whole(grid.step ?? 4, 'step', 1);
    for (let count = step; count <= most; count += step) list.push(count);
    rounds = whole(grid.rounds ?? 64, 'rounds', 1);
  } else {
    throw new EspalierError(
      'E_ARGUMENT',
      `The grid is ${JSON.stringify(grid satisfies never)}.`,
      "Give 'arithmetic', 'geometric' or a list.",
    );
  }
  if (list.length === 0) {
    throw new EspalierError('E_ARGUMENT', `The grid begins beyond its end, ${most}.`, 'Begin lower, or end higher.');
  }
  const perRound = whole(grid.perRound ?? (grid.kind === 'geometric' ? 1 : 4), 'perRound', 1);
  const plan: number[][] = [];
  for (let i = 0; i < list.length && plan.length < rounds; i += perRound) plan.push(list.slice(i, i + perRound));
  return plan;
}

function isList(grid: Grid): grid is readonly number[] {
  return Array.isArray(grid);
}
