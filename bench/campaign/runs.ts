/** What the campaign measures: its runs, and the order of their worth. */
import type { UnlearningMethod } from '../../src/prune/edit/unlearn-options.ts';
import type { PruneRecipe } from '../../src/prune/options.ts';

export const SPLITS = ['forget10', 'forget05', 'forget01'] as const;
export type Split = (typeof SPLITS)[number];

/** Ours, as it is by default, with the paper's loss, and without entropies: every answer's token, and no Phase I. */
export const OURS = {
  alter: {},
  'alter-hinge': { objective: 'hinge' },
  asymmetric: { objective: 'hinge', mask: 'all', structureSteps: 0 },
} as const satisfies Record<string, PruneRecipe>;
export type Ours = keyof typeof OURS;

/** Of another method: rates that are tried, rank of an adapter (0: all weights are trained), and what the size of the model wants. */
export interface Rival {
  readonly rates: readonly number[];
  readonly rank: number;
  readonly layer?: number;
}

const WEIGHTS = { rates: [1e-5, 3e-5, 1e-4, 3e-4], rank: 0 } as const satisfies Rival;

export const RIVALS = {
  npo: WEIGHTS,
  simnpo: WEIGHTS,
  hinge: { rates: [1e-4, 3e-4, 1e-3, 3e-3], rank: 8 },
  'grad-diff': WEIGHTS,
  'idk-dpo': WEIGHTS,
  undial: { ...WEIGHTS, rates: [3e-5, 1e-4, 3e-4, 1e-3] },
  // the middle of eight layers, as open-unlearning's 7 is of its models'
  rmu: { ...WEIGHTS, rates: [3e-5, 1e-4, 3e-4, 1e-3], layer: 3 },
  'grad-ascent': { ...WEIGHTS, rates: [3e-6, 1e-5, 3e-5, 1e-4] },
} as const satisfies Partial<Record<UnlearningMethod, Rival>>;
export type RivalName = keyof typeof RIVALS;

export type Run =
  /** A model that never learned a split: trained by our trainer, and where one is given set beside that. */
  | { readonly kind: 'reference'; readonly split: Split }
  /** The model as it is, and the reference, with the control of relearning. */
  | { readonly kind: 'before'; readonly split: Split }
  /** A rival with one of its rates: looks, and no more. */
  | { readonly kind: 'sweep'; readonly method: RivalName; readonly rate: number }
  /** A method with the rate that was chosen, measured in full. */
  | { readonly kind: 'unlearn'; readonly method: RivalName | Ours; readonly split: Split; readonly seed: number }
  /** All that ours could have been left in, each measured: how far its choice is from the best. */
  | { readonly kind: 'looks'; readonly method: Ours; readonly split: Split; readonly seed: number }
  /** Requests of 1, 5 and 10 %, one behind the other, and taken back. */
  | { readonly kind: 'sequence'; readonly seed: number }
  /** SmolLM2 learns 20 people by heart and forgets two of them. */
  | { readonly kind: 'smollm2'; readonly seed: number };

export function idOf(run: Run): string {
  switch (run.kind) {
    case 'reference':
    case 'before':
      return `${run.kind} ${run.split}`;
    case 'sweep':
      return `${run.kind} ${run.method} ${run.rate}`;
    case 'unlearn':
    case 'looks':
      return `${run.kind} ${run.method} ${run.split} ${run.seed}`;
    case 'sequence':
    case 'smollm2':
      return `${run.kind} ${run.seed}`;
    default:
      return run satisfies never;
  }
}

/** A reference that is there already. */
export const GIVEN: Split = 'forget10';

/** Runs whose results another needs. */
export function needsOf(run: Run): string[] {
  switch (run.kind) {
    case 'reference':
    case 'sequence':
    case 'smollm2':
      return [];
    case 'before':
      return run.split === GIVEN ? [] : [idOf({ kind: 'reference', split: run.split })];
    case 'sweep':
      return [idOf({ kind: 'before', split: GIVEN })];
    case 'looks':
      return [idOf({ kind: 'before', split: run.split }), ...besideOf(run)];
    case 'unlearn':
      return [idOf({ kind: 'before', split: run.split }), ...sweepOf(run.method).map(idOf), ...besideOf(run)];
    default:
      return run satisfies never;
  }
}

/** Ours asks the reference itself, not only what was measured of it. */
function besideOf({ method, split }: { readonly method: RivalName | Ours; readonly split: Split }): string[] {
  return isOurs(method) && split !== GIVEN ? [idOf({ kind: 'reference', split })] : [];
}

export const isOurs = (method: RivalName | Ours): method is Ours => method in OURS;

/** Of a rival, the runs that its rate is chosen by. */
export function sweepOf(method: RivalName | Ours): Run[] {
  if (isOurs(method)) return [];
  return RIVALS[method].rates.map((rate) => ({ kind: 'sweep', method, rate }));
}

export interface Choice {
  readonly kinds: readonly Run['kind'][];
  readonly splits: readonly Split[];
  readonly methods: readonly (RivalName | Ours)[];
  readonly seeds: readonly number[];
}

/** All runs, those that are worth most first. */
export function runsOf({ kinds, splits, methods, seeds }: Choice): Run[] {
  const rivals = methods.filter((method) => !isOurs(method));
  const each = (kind: 'unlearn' | 'looks', of: readonly (RivalName | Ours)[], split: Split): Run[] =>
    // a seed of every method, so that wherever it ends there is a table
    seeds.flatMap((seed) => of.map((method) => ({ kind, method, split, seed }) as Run));
  const others = splits.filter((split) => split !== GIVEN);
  const arms = methods.filter((method) => isOurs(method) && method !== 'alter');
  const own = methods.filter((method) => method === 'alter');
  const [first] = seeds;
  const all: Run[] = [
    ...others.map((split): Run => ({ kind: 'reference', split })),
    ...(splits.includes(GIVEN) ? [{ kind: 'reference', split: GIVEN } as const] : []),
    ...splits.map((split): Run => ({ kind: 'before', split })),
    ...rivals.flatMap(sweepOf),
    ...splits.flatMap((split) => each('unlearn', own, split)),
    ...(splits.includes(GIVEN) ? each('unlearn', rivals, GIVEN) : []),
    ...(first === undefined ? [] : [{ kind: 'sequence', seed: first } as const]),
    ...each('looks', own, GIVEN),
    ...(splits.includes(GIVEN) ? each('unlearn', arms, GIVEN) : []),
    ...(first === undefined ? [] : [{ kind: 'smollm2', seed: first } as const]),
    ...others.flatMap((split) => each('unlearn', [...rivals, ...arms], split)),
    ...seeds.slice(1).map((seed) => ({ kind: 'sequence', seed }) as const),
    ...each('looks', arms, GIVEN),
  ];
  return all.filter(({ kind }) => kinds.includes(kind));
}
