import type { FactorRole } from '../adapter/factors.ts';
import { type ByKind, type StepKind, trainedBy } from './kinds.ts';
import type { Counts, IsolationState, KindRecord, Moment, Violation } from './state.ts';

/** What is known of steps of a kind that were not for something. */
export interface RestedSteps {
  readonly steps: number;
  /** Of these, lying in stretches without a step that was for it, at whose ends all of it had the same digests. */
  readonly verified: number;
}

export interface RoleReceipt {
  readonly role: FactorRole;
  readonly factors: number;
  readonly parameters: number;
  /** Steps that trained it, by kind, and the tokens that their losses were over. */
  readonly trained: ByKind<Pick<KindRecord, 'steps' | 'tokens'>>;
  /** Whether losses that it has a gradient from were over tokens of high entropy alone; null: it was not trained. */
  readonly onlyHigh: boolean | null;
  /** The others. */
  readonly rested: ByKind<RestedSteps>;
}

/** What a pruning changed, and what it was seen to leave as it was. Plain JSON. */
export interface IsolationReceipt {
  readonly version: 1;
  readonly digest: string;
  readonly steps: number;
  readonly kinds: IsolationState['kinds'];
  /** All was hashed then: at the beginning, the switch of phases, when a job went on, the end, and when the best look was put back. */
  readonly moments: readonly Moment[];
  readonly base: { readonly tensors: number; readonly rested: ByKind<RestedSteps> };
  readonly roles: readonly RoleReceipt[];
  /** Whether all was hashed behind the last step, so that nothing is open. */
  readonly closed: boolean;
  /** Nothing was found that should not be, in all that was compared. */
  readonly holds: boolean;
  readonly violations: readonly Violation[];
}

const DIGEST =
  'SHA-256 over the SHA-256 of each MiB of the f32 values; of several tensors, SHA-256 of the JSON of their names and digests';

/** @param factors with their roles and shapes, in their order */
export function isolationReceipt(
  state: IsolationState,
  factors: readonly { readonly role: FactorRole; readonly shape: readonly number[] }[],
  baseTensors: number,
): IsolationReceipt {
  const { kinds, moments, verified, violations } = state;
  const list = Object.entries(kinds) as [StepKind, KindRecord][];
  const steps = list.reduce((sum, [, own]) => sum + own.steps, 0);
  const restedOf = (isTrained: (kind: StepKind) => boolean, seen: Counts = {}) =>
    Object.fromEntries(
      list
        .filter(([kind]) => !isTrained(kind))
        .map(([kind, own]) => [kind, { steps: own.steps, verified: seen[kind] ?? 0 }]),
    );
  const roles = [...new Set(factors.map(({ role }) => role))].map((role): RoleReceipt => {
    const own = factors.filter((factor) => factor.role === role);
    const training = list.filter(([kind]) => trainedBy(kind).includes(role));
    const low = training.flatMap(([, { tokens }]) => Object.values(tokens)).some((own) => own.low > 0);
    return {
      role,
      factors: own.length,
      parameters: own.reduce((sum, { shape }) => sum + shape.reduce((x, y) => x * y, 1), 0),
      trained: Object.fromEntries(training.map(([kind, { steps: n, tokens }]) => [kind, { steps: n, tokens }])),
      onlyHigh: training.length === 0 ? null : !low,
      rested: restedOf((kind) => trainedBy(kind).includes(role), verified[role]),
    };
  });
  const last = moments.at(-1);
  return {
    version: 1,
    digest: DIGEST,
    steps,
    kinds,
    moments,
    base: { tensors: baseTensors, rested: restedOf(() => false, verified.base) },
    roles,
    closed: (last?.at === 'end' || last?.at === 'chosen') && last.step === steps,
    holds: violations.length === 0,
    violations,
  };
}
