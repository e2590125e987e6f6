import type { ArmFigures, ArmReport } from '../../evaluate/report.ts';
import type { Interval } from '../../evaluate/statistics.ts';
import { formatCount, formatDuration, formatTable } from './format.ts';

type Column = readonly [head: string, cell: (figures: ArmFigures) => string];

/** What is shown of each figure, in this order. */
const COLUMNS: Readonly<Record<keyof ArmFigures, readonly Column[]>> = {
  accuracy: [
    ['accuracy', ({ accuracy }) => accuracy.value.toFixed(3)],
    ['95 %', ({ accuracy }) => range(accuracy)],
  ],
  macroF1: [['F1', ({ macroF1 }) => macroF1.toFixed(3)]],
  difference: [
    ['difference', ({ difference }) => (difference ? `${signed(difference.value)} ${range(difference)}` : '')],
  ],
  meanShots: [['shots', ({ meanShots }) => meanShots.toFixed(1)]],
  firstMilliseconds: [['first token', ({ firstMilliseconds }) => duration(firstMilliseconds)]],
  milliseconds: [['answer', ({ milliseconds }) => duration(milliseconds)]],
  encodeMilliseconds: [
    ['encoding', ({ encodeMilliseconds }) => (encodeMilliseconds ? duration(encodeMilliseconds) : '')],
  ],
  forwarded: [['tokens', ({ forwarded }) => count(forwarded)]],
  reused: [['reused', ({ reused }) => (reused ? count(reused) : '')]],
  // with --json alone
  probes: [],
  fallbacks: [['fallback', ({ fallbacks }) => percent(fallbacks)]],
  divergence: [['KL', ({ divergence }) => divergence?.mean.toPrecision(3) ?? '']],
  agreement: [['agrees', ({ agreement }) => percent(agreement)]],
};

/** A row for each arm, columns only where an arm has something in them. */
export function describeReports(reports: readonly ArmReport[]): string {
  const used = Object.values(COLUMNS)
    .flat()
    .filter(([, cell]) => reports.some(({ result }) => result && cell(result) !== ''));
  const rows = reports.map(({ arm, items, result }) => [
    arm,
    items,
    ...used.map(([, cell]) => (result ? cell(result) : '–')),
  ]);
  const notes = reports.flatMap(({ arm, skipped }) => (skipped === null ? [] : [`${arm}: ${skipped}`]));
  return [formatTable(['arm', 'items', ...used.map(([head]) => head)], rows), ...notes].join('\n');
}

const range = ({ low, high }: Interval): string => `[${low.toFixed(3)}, ${high.toFixed(3)}]`;
const signed = (value: number): string => `${value < 0 ? '' : '+'}${value.toFixed(3)}`;
const duration = (milliseconds: number | null): string =>
  milliseconds === null ? '' : formatDuration(milliseconds / 1000);
const count = (value: number | null): string => (value === null ? '' : formatCount(Math.round(value)));
const percent = (share: number | null): string => (share === null ? '' : `${Math.round(100 * share)} %`);
