import { type FactorRole, TRAINED } from '../adapter/factors.ts';

/** What a step is for: Phase I; of Phase II forgetting one sub-domain, from 1 on as its expert, or retaining. */
export type StepKind = 'structure' | 'retain' | `forget-${number}`;
/** Where a sequence is from. */
export type SequenceSource = 'retain' | `forget-${number}`;

/** Roles that steps of a kind train. */
export function trainedBy(kind: StepKind): readonly FactorRole[] {
  if (kind === 'structure') return TRAINED.phaseOne;
  return kind === 'retain' ? TRAINED.retain : [kind];
}

/** Whether a step of a kind may have a loss over tokens from there. */
export function takesFrom(kind: StepKind, source: SequenceSource): boolean {
  return kind === 'structure' || kind === source;
}

/** Of JSON: by kinds of steps, by sources of sequences, and by roles of factors, with `base` where the base is meant, too. */
export type ByKind<T> = Readonly<Record<string, T>>;
export type BySource<T> = Readonly<Record<string, T>>;
export type ByRole<T> = Readonly<Record<string, T>>;
