import { EspalierError } from '../../errors.ts';
import { complete } from '../../options/check.ts';
import { byName, either, listOf, nothing, oneOf, type Rule, type Schema, whole, words } from '../../options/rules.ts';
import type { FactorRole } from '../adapter/factors.ts';
import type { LossTokens } from '../edit/batches.ts';
import type { ByKind, ByRole, BySource } from './kinds.ts';

/** What steps of one kind were. */
export interface KindRecord {
  readonly steps: number;
  /** Tokens that their losses were over, by where they are from; one that was drawn twice counts twice. */
  readonly tokens: BySource<LossTokens>;
  /** Roles that had a gradient in any of them. */
  readonly gradient: readonly FactorRole[];
}

/** When all was hashed; `chosen`: when the factors of the look that was chosen had been put back. */
export const MOMENTS = ['begin', 'switch', 'resume', 'end', 'chosen'] as const;

export interface Moment {
  readonly at: (typeof MOMENTS)[number];
  /** Steps that were done by then. */
  readonly step: number;
  /** Digests of the base, and of all factors of a role. */
  readonly base: string;
  readonly roles: ByRole<string>;
}

/** A tensor that changed, or a role that had a gradient, though no step was for it. */
export interface Violation {
  readonly what: 'changed' | 'gradient' | 'source';
  /** Null: of the base. */
  readonly role: FactorRole | null;
  /** The first tensor of it; of a `source` where the sequence is from. */
  readonly name: string;
  /** Steps that were done when it was found, and when it was last known to be right. */
  readonly step: number;
  readonly since: number;
}

/** By kind, how many. */
export type Counts = ByKind<number>;

/** All that a ledger knows, as plain JSON: with it a job that was interrupted goes on. */
export interface IsolationState {
  readonly version: 1;
  readonly kinds: ByKind<KindRecord>;
  readonly moments: readonly Moment[];
  /** Steps of each kind in whose stretches a role, or the base, was found bit-equal at both ends. */
  readonly verified: ByRole<Counts>;
  /** Steps since the last comparison of factors, and of the base. */
  readonly since: { readonly factors: Counts; readonly base: Counts };
  /** Digests of the last comparison, by name, and how many steps were done then. */
  readonly last: {
    readonly step: { readonly factors: number; readonly base: number };
    readonly factors: Readonly<Record<string, string>>;
    readonly base: Readonly<Record<string, string>>;
  };
  readonly violations: readonly Violation[];
}

const count = whole(0);
const counts = byName(count);
// any other is found where roles are looked up
const role = words as Rule<string> as unknown as Rule<FactorRole>;
const tokens = complete<LossTokens>({ high: count, low: count }, 'tokens');

const kind = { steps: count, tokens: byName(tokens), gradient: listOf(role) } as const satisfies Schema<KindRecord>;
const moment = {
  at: oneOf(...MOMENTS),
  step: count,
  base: words,
  roles: byName(words),
} as const satisfies Schema<Moment>;
const violation = {
  what: oneOf('changed', 'gradient', 'source'),
  role: either(role, nothing),
  name: words,
  step: count,
  since: count,
} as const satisfies Schema<Violation>;
const steps = complete<IsolationState['last']['step']>({ factors: count, base: count }, 'step');

const state = {
  version: whole(1, 1) as Rule<1>,
  kinds: byName(complete<KindRecord>(kind, 'kinds')),
  moments: listOf(complete<Moment>(moment, 'moments')),
  verified: byName(counts),
  since: complete<IsolationState['since']>({ factors: counts, base: counts }, 'since'),
  last: complete<IsolationState['last']>({ step: steps, factors: byName(words), base: byName(words) }, 'last'),
  violations: listOf(complete<Violation>(violation, 'violations')),
} as const satisfies Schema<IsolationState>;

/** What a state that is kept says of it. */
export const isolationState: Rule<IsolationState> = complete<IsolationState>(state, 'isolation');

/**
 * Looks at a state that was read from somewhere.
 * @throws E_DATA_INVALID where it is none, or of another adapter or base
 */
export function checkState(
  state: IsolationState,
  names: { readonly factors: readonly string[]; readonly base: readonly string[] },
): void {
  const fault = (what: string): EspalierError =>
    new EspalierError('E_DATA_INVALID', `The record of isolation ${what}.`, 'Give that of this job, or begin anew.');
  if (state?.version !== 1) throw fault(`is of version ${state?.version}, and not 1`);
  for (const part of ['factors', 'base'] as const) {
    const known = Object.keys(state.last?.[part] ?? {});
    const own = new Set(names[part]);
    if (known.length !== own.size || !known.every((name) => own.has(name))) {
      throw fault(part === 'base' ? 'is of another base' : 'is of another adapter');
    }
  }
}
