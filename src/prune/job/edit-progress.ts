import { complete } from '../../options/check.ts';
import { either, listOf, nothing, type Rule, real, type Schema, truth, whole } from '../../options/rules.ts';
import type { Candidate } from '../choice/choice.ts';
import type { PhasesProgress } from '../edit/two-phases.ts';
import { type IsolationState, isolationState } from '../proof/state.ts';

/** What is known of both phases beside factors and moments. */
export interface EditProgress extends PhasesProgress {
  /** By look: all that could be left. */
  readonly looks: readonly (readonly Candidate[])[];
  /** By look: the mean log-probability of what shall be forgotten, in nats. */
  readonly means: readonly number[];
  readonly best: Candidate | null;
  /** Of work, in all runs together. */
  readonly seconds: number;
  readonly ended: boolean;
  readonly isolation: IsolationState;
}

const number = real(-Number.MAX_VALUE);

const fieldsOfCandidate = {
  look: whole(1),
  epoch: real(0),
  strength: real(0),
  forget: real(0),
  retain: real(0),
  distance: real(0),
} as const satisfies Schema<Candidate>;

const candidate = complete<Candidate>(fieldsOfCandidate, 'looks');

const fields = {
  step: whole(0),
  half: truth,
  structured: truth,
  unlooked: truth,
  seen: listOf(listOf(real(0))),
  looks: listOf(listOf(candidate, 1)),
  means: listOf(number),
  best: either(candidate, nothing),
  seconds: real(0),
  ended: truth,
  isolation: isolationState,
} as const satisfies Schema<EditProgress>;

/** What the state of a job says of it. */
export const editProgress: Rule<EditProgress> = complete<EditProgress>(fields, 'progress');
