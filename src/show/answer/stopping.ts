import type { Probe } from '../types.ts';
import type { ShowSettings } from './presets.ts';

/** Which count is used, and whether it passed. */
export interface Choice {
  readonly shots: number;
  readonly fallback: boolean;
  /** What was known before any shot was shown is the answer. */
  readonly before?: boolean;
}

/** The smallest count of a round that is sure enough, or null. */
export function firstSure(
  round: readonly Probe[],
  threshold: number,
  { leastMass, onlyYes }: Pick<ShowSettings, 'leastMass' | 'onlyYes'>,
): Probe | null {
  const sure = round.filter(({ entropy, mass, yes }) => {
    return entropy <= threshold && mass >= leastMass && (!onlyYes || yes === null || yes > 0.5);
  });
  return sure.reduce<Probe | null>((least, probe) => (least && least.shots <= probe.shots ? least : probe), null);
}

/**
 * When no count passed (D3). Where only a yes counts, a sure no of the last round does before anything else (D2a as the last resort).
 */
export function fallBack(
  probes: readonly Probe[],
  lastRound: readonly Probe[],
  threshold: number,
  settings: Pick<ShowSettings, 'leastMass' | 'onlyYes' | 'fallback'>,
  cap: number,
): number {
  if (settings.onlyYes) {
    const sure = firstSure(lastRound, threshold, { ...settings, onlyYes: false });
    if (sure) return sure.shots;
  }
  const { fallback } = settings;
  if (typeof fallback === 'object') return Math.min(fallback.shots, cap);
  if (fallback === 'most') return Math.max(...probes.map(({ shots }) => shots));
  fallback satisfies 'least-entropy';
  return probes.reduce((least, probe) => {
    const better = probe.entropy < least.entropy || (probe.entropy === least.entropy && probe.shots < least.shots);
    return better ? probe : least;
  }).shots;
}
