import { type ArmReport, reportArms } from '../report.ts';
import type { ItemResult } from '../types.ts';
import { type ArmEntropies, entropiesOf } from './entropies.ts';
import { checkedEvaluation, type Evaluation, Texts } from './evaluation.ts';
import { type Answers, answersOf, type Pair, pairsOf } from './pairs.ts';

/** What both forms of a report tell. */
export interface Summary {
  readonly evaluation: Evaluation;
  /** In the order of the arms. */
  readonly reports: readonly ArmReport[];
  readonly answers: readonly Answers[];
  /** The first is what the report begins with. */
  readonly pairs: readonly Pair[];
  readonly entropies: readonly ArmEntropies[];
  readonly texts: Texts;
  /** What it was asked, for people. */
  readonly setting: readonly (readonly [name: string, value: string])[];
}

/** @throws E_ARGUMENT */
export function summaryOf(given: Evaluation, what: string): Summary {
  const evaluation = checkedEvaluation(given, what);
  const { options, records, against } = evaluation;
  const { arms, seed = 0 } = options;
  const results = records.filter((record): record is ItemResult => !('skipped' in record));
  const answers = answersOf(arms, results);
  return {
    evaluation,
    reports: reportArms(arms, records, { seed, ...(against !== undefined && { against }) }),
    answers,
    pairs: pairsOf(arms, answers),
    entropies: entropiesOf(arms, results),
    texts: new Texts(evaluation),
    setting: settingOf(evaluation),
  };
}

function settingOf({ data, options, date, device, command }: Evaluation): readonly (readonly [string, string])[] {
  const { arms: _, pool, test, dev = 0, seed = 0, seeds = 1, balanced = false, ...rest } = options;
  const others = Object.entries(rest).map(([name, value]): readonly [string, string] => [
    name,
    typeof value === 'string' ? value : typeof value === 'function' ? 'a function' : JSON.stringify(value),
  ]);
  return [
    ['data', data],
    ['pool', `${pool} examples${balanced ? ', balanced' : ''}`],
    ['items', `${test}${dev > 0 ? `, fitted on ${dev} others` : ''}`],
    ['seeds', seeds === 1 ? `${seed}` : `${seed} to ${seed + seeds - 1}`],
    ...others,
    ...(date === undefined ? [] : [['date', date] as const]),
    ...Object.entries(device ?? {}),
    ...(command === undefined ? [] : [['command', command] as const]),
  ];
}
