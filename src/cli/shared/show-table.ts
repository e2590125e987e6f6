import type { ArmFigures, ArmReport } from '../../evaluate/report.ts';
import type { Interval } from '../../evaluate/statistics.ts';
import { formatCount, formatDuration, formatTable } from './format.ts';

/** A row for each arm, columns only where an arm has something in them. */
export function describeReports(reports: readonly ArmReport[]): string {
  const columns: readonly (readonly [head: string, cell: (figures: ArmFigures) => string])[] = [
    ['accuracy', ({ accuracy }) => accuracy.value.toFixed(3)],
    ['95 %', ({ accuracy }) => range(accuracy)],
    ['F1', ({ macroF1 }) => macroF1.toFixed(3)],
    ['difference', ({ difference }) => (difference ? `${signed(difference.value)} ${range(difference)}` : '')],
    ['shots', ({ meanShots }) => meanShots.toFixed(1)],
    ['first token', ({ firstMilliseconds }) => duration(firstMilliseconds)],
    ['answer', ({ milliseconds }) => duration(milliseconds)],
    ['encoding', ({ encodeMilliseconds }) => (encodeMilliseconds ? duration(encodeMilliseconds) : '')],
    ['tokens', ({ forwarded }) => count(forwarded)],
    ['reused', ({ reused }) => (reused ? count(reused) : '')],
    ['fallback', ({ fallbacks }) => percent(fallbacks)],
    ['KL', ({ divergence }) => divergence?.mean.toPrecision(3) ?? ''],
    ['agrees', (figures) => percent(figures.agreement)],
  ];
  const used = columns.filter(([, cell]) => reports.some(({ result }) => result && cell(result) !== ''));
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
