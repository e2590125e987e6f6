import { EspalierError } from '../errors.ts';
import { checked, readable } from '../options/check.ts';
import { listOf } from '../options/rules.ts';
import { type Arm, familyOf } from './arms.ts';
import { type DivergenceSummary, summarise } from './divergence.ts';
import {
  arms as armsRule,
  type BootstrapOptions,
  type ReportOptions,
  record as recordRule,
  reportOptions,
} from './options.ts';
import { agreement, type Interval, macroF1, mean, meanInterval, pairedDifference } from './statistics.ts';
import type { EvaluationRecord, ItemResult } from './types.ts';

/** What an arm achieved over all its items and seeds. */
export interface ArmReport {
  readonly arm: string;
  readonly items: number;
  /** Why it has none, or fewer than it should. */
  readonly skipped: string | null;
  /** Null where there is no item. */
  readonly result: ArmFigures | null;
}

export interface ArmFigures {
  readonly accuracy: Interval;
  readonly macroF1: number;
  /** Accuracy less that of the arm that all are held against, over the items that both have; null for that arm itself. */
  readonly difference: Interval | null;
  readonly meanShots: number;
  /** Means over items; null for an oracle, which answers nothing itself. */
  readonly firstMilliseconds: number | null;
  readonly milliseconds: number | null;
  readonly encodeMilliseconds: number | null;
  readonly forwarded: number | null;
  readonly reused: number | null;
  /** Of adaptive arms: counts tried, and the share of items where none was sure enough. */
  readonly probes: number | null;
  readonly fallbacks: number | null;
  /** Against full attention over the same shots, of the items where that was asked for. */
  readonly divergence: DivergenceSummary | null;
  readonly agreement: number | null;
}

/**
 * Figures of every arm, in their order.
 * @throws E_ARGUMENT where `against` names no arm of them
 */
export function reportArms(
  arms: readonly Arm[],
  records: readonly EvaluationRecord[],
  options: ReportOptions = {},
): readonly ArmReport[] {
  armsRule.check(arms, 'arms');
  const { against } = checked<ReportOptions>(reportOptions, options, 'reportArms()');
  if (against !== undefined && !arms.some(({ name }) => name === against)) {
    throw new EspalierError('E_ARGUMENT', `There is no arm "${against}" here.`, 'Name one of the arms that are run.');
  }
  const results = new Map<string, ItemResult[]>(arms.map(({ name }) => [name, []]));
  const skips = new Map<string, string>();
  for (const record of readable('records', () => listOf(recordRule).check(records, 'records'))) {
    if ('skipped' in record) skips.set(record.arm, record.skipped);
    else results.get(record.arm)?.push(record);
  }
  for (const arm of arms) {
    if (arm.kind !== 'oracle') continue;
    const family = arms.filter((other) => familyOf(other) === arm.family && !skips.has(other.name));
    results.set(
      arm.name,
      oracle(
        arm.name,
        family.map(({ name }) => results.get(name)!),
      ),
    );
  }
  const rival = against === undefined ? null : results.get(against)!;
  return arms.map(({ name, kind }) => {
    const list = results.get(name)!;
    return {
      arm: name,
      items: list.length,
      skipped: skips.get(name) ?? null,
      result: list.length === 0 ? null : figures(list, name === against ? null : rival, kind === 'oracle', options),
    };
  });
}

const right = ({ label, truth }: ItemResult): number => (label === truth ? 1 : 0);
const keyOf = ({ seed, item }: ItemResult): string => `${seed} ${item}`;

function figures(
  list: readonly ItemResult[],
  rival: readonly ItemResult[] | null,
  isOracle: boolean,
  options: BootstrapOptions,
): ArmFigures {
  const average = (value: (result: ItemResult) => number | undefined): number | null => {
    const values = list.map(value).filter((v) => v !== undefined);
    return isOracle || values.length === 0 ? null : mean(values);
  };
  const compared = isOracle ? [] : list.filter(({ divergence }) => divergence !== undefined);
  return {
    accuracy: meanInterval(list.map(right), options),
    macroF1: macroF1(
      list.map(({ truth }) => truth),
      list.map(({ label }) => label),
    ),
    difference: rival && difference(list, rival, options),
    meanShots: mean(list.map(({ shots }) => shots)),
    firstMilliseconds: average((r) => r.firstMilliseconds),
    milliseconds: average((r) => r.milliseconds),
    encodeMilliseconds: average((r) => r.encodeMilliseconds),
    forwarded: average((r) => r.forwarded),
    reused: average((r) => r.reused),
    probes: average((r) => r.probes),
    fallbacks: average((r) => (r.fallback === undefined ? undefined : Number(r.fallback))),
    divergence: summarise(compared.map((r) => r.divergence!)),
    agreement:
      compared.length === 0
        ? null
        : agreement(
            compared.map((r) => r.agrees),
            compared.map(() => true),
          ),
  };
}

/** Null where the two share no item. */
function difference(
  list: readonly ItemResult[],
  rival: readonly ItemResult[],
  options: BootstrapOptions,
): Interval | null {
  const others = new Map(rival.map((result) => [keyOf(result), result]));
  const both = list.filter((result) => others.has(keyOf(result)));
  if (both.length === 0) return null;
  return pairedDifference(
    both.map(right),
    both.map((result) => right(others.get(keyOf(result))!)),
    options,
  );
}

/** Of every item the result with the fewest shots that is right, or else with the fewest; of items that all arms have. */
function oracle(name: string, family: readonly (readonly ItemResult[])[]): ItemResult[] {
  const byItem = new Map<string, ItemResult[]>();
  for (const result of family.flat()) {
    const list = byItem.get(keyOf(result));
    if (list) list.push(result);
    else byItem.set(keyOf(result), [result]);
  }
  return [...byItem.values()]
    .filter((list) => list.length === family.length)
    .map((list) => {
      const [best] = list.sort((a, b) => right(b) - right(a) || a.shots - b.shots);
      return { ...best!, arm: name };
    });
}
