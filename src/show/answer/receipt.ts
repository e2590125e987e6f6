import { ShotContext } from '../place/context.ts';
import type { ShotPool } from '../pool/pool.ts';
import { modeFacts } from '../pool/prefix-mode.ts';
import type { Comparison, ShowReceipt } from '../types.ts';
import type { QueryRun, Task } from './query-run.ts';
import type { Choice } from './stopping.ts';

/** What was done for an answer. */
export function receiptOf(
  { placed, settings, trie, bias }: Task,
  pool: ShotPool | null,
  run: QueryRun,
  { shots: chosen, fallback, before = false }: Choice,
  threshold: number,
  comparison: Comparison | null,
  generated: number,
): ShowReceipt {
  const context = placed instanceof ShotContext ? placed : null;
  const used = placed.tokens(chosen).length;
  const recomputed = pool !== null && modeFacts(pool.prefix).recompute;
  const averaged = before ? [] : run.averaged(chosen);
  const labels = trie?.labels ?? [];
  return {
    shots: placed.used(chosen).map(({ id }) => id),
    probes: run.probes,
    chosen,
    averaged: recomputed && averaged.length > 0 ? [chosen] : averaged,
    vote: run.vote && settings.vote,
    ridge: run.before && {
      ...settings.ridge!,
      label: labels[run.before.best]!,
      entropy: run.before.entropy,
      sure: before,
      scored: before ? 0 : (run.scored?.length ?? labels.length),
    },
    unbiased: bias !== null && !recomputed && !before,
    threshold,
    fallback,
    tokens: {
      reused: recomputed || before ? 0 : placed.prefix.length + used,
      rotated: run.rotated,
      forwarded: run.forwarded,
      generated,
    },
    bytes: { read: run.bytesRead, cache: placed.byteLength, pool: pool?.bytes ?? 0 },
    milliseconds: run.milliseconds,
    exactness: recomputed || placed.isCausal(chosen) ? 'causal' : context?.isPlain ? 'blocks' : 'approximate',
    comparison,
    warnings: (pool?.warnings ?? []).map(String),
  };
}
