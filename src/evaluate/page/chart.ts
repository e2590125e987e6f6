import { duration, whole } from '../../page/html.ts';
import { decades, type Scale } from '../../page/scale.ts';
import { escaped } from '../../page/text.ts';
import type { Arm } from '../arms.ts';
import type { ArmReport } from '../report.ts';
import type { Interval } from '../statistics.ts';

/** Colours of `PAGE_STYLE` by what an arm does. */
export const COLOURS: Readonly<Record<Arm['kind'], string>> = {
  'zero-shot': 'var(--soft)',
  vote: 'var(--e5)',
  fixed: 'var(--e6)',
  dbsa: 'var(--e3)',
  adaptive: 'var(--e1)',
  oracle: 'var(--e4)',
};

interface Axis extends Scale {
  readonly name: string;
  readonly ticks: readonly number[];
  label(value: number): string;
}

interface Point {
  /** As in the table. */
  readonly number: number;
  readonly arm: Arm;
  readonly x: number;
  readonly accuracy: Interval;
}

/** Most labels along an axis: more would touch each other on a phone. */
const MOST_TICKS = 8;

/** Points nearer to each other than this share of the width stand beside each other, as many pixels apart. */
const NEAR = 0.035;
const APART = 16;
const WIDEST = 64;

/** Accuracy with intervals against mean numbers of examples. Null where no arm answered. */
export function shotsChart(arms: readonly Arm[], reports: readonly ArmReport[]): string | null {
  const most = Math.max(1, ...reports.map(({ result }) => result?.meanShots ?? 0));
  const end = Math.log2(1 + most) * 1.04;
  const powers = [0, ...Array.from({ length: Math.floor(Math.log2(most)) + 1 }, (_, i) => 2 ** i)];
  return accuracyChart(arms, reports, ({ meanShots }) => meanShots, {
    name: 'examples shown, on average (or that voted)',
    at: (x) => Math.log2(1 + x) / end,
    ticks: powers.length > MOST_TICKS ? powers.filter((_, i) => i % 2 === 0) : powers,
    label: whole,
  });
}

/** The same against mean times. */
export function timeChart(arms: readonly Arm[], reports: readonly ArmReport[]): string | null {
  const times = reports.flatMap(({ result }) => result?.milliseconds ?? []);
  const scale = times.length > 0 ? decades(times) : { at: () => 0, ticks: [] };
  return accuracyChart(arms, reports, ({ milliseconds }) => milliseconds, {
    ...scale,
    name: 'time for a query, on average',
    label: duration,
  });
}

function accuracyChart(
  arms: readonly Arm[],
  reports: readonly ArmReport[],
  of: (result: NonNullable<ArmReport['result']>) => number | null,
  across: Axis,
): string | null {
  const points = reports.flatMap(({ result }, i): Point[] => {
    const x = result && of(result);
    return result && x !== null ? [{ number: i + 1, arm: arms[i]!, x, accuracy: result.accuracy }] : [];
  });
  if (points.length === 0) return null;
  const up = shares(points.map(({ accuracy }) => accuracy));
  const offsets = beside(points.map(({ x }) => across.at(x)));
  const label = `Share of right answers against ${across.name}. ${points
    .map(({ arm, accuracy, x }) => `${arm.name}: ${accuracy.value.toFixed(3)} at ${across.label(x)}`)
    .join('; ')}.`;
  return `<figure class="chart">
<p class="hint">Upwards: share of right answers, with its 95 % interval. Rightwards: ${escaped(across.name)}. Numbers are those of the table.</p>
<div class="frame"><svg role="img" aria-label="${escaped(label)}">
${up.ticks.map((tick) => gridLine(up, tick)).join('\n')}
${across.ticks.map((tick) => tickAcross(across, tick)).join('\n')}
${points.map((point, i) => mark(point, across.at(point.x), up, offsets[i]!, across)).join('\n')}
</svg></div>
<p class="axis">${escaped(across.name)}</p>
</figure>`;
}

const place = (share: number): string => `${(100 * share).toFixed(2)}%`;
const height = (share: number): string => place(1 - share);

function gridLine(up: Scale, tick: number): string {
  const at = height(up.at(tick));
  return `<line class="grid" x1="0" x2="100%" y1="${at}" y2="${at}"/><text class="up" x="-8" y="${at}" dy=".35em">${tick.toFixed(2)}</text>`;
}

function tickAcross({ at, label }: Axis, tick: number): string {
  const x = place(at(tick));
  return `<line class="stub" x1="${x}" x2="${x}" y1="100%" y2="100%"/><text class="over" x="${x}" y="100%" dy="1.5em">${escaped(label(tick))}</text>`;
}

/** An interval with its arm's number at the value. */
function mark({ number, arm, accuracy, x }: Point, share: number, up: Scale, offset: number, across: Axis): string {
  const [at, low, high, value] = [
    place(share),
    height(up.at(accuracy.low)),
    height(up.at(accuracy.high)),
    height(up.at(accuracy.value)),
  ];
  const said = `${arm.name}: ${accuracy.value.toFixed(3)}, ${accuracy.low.toFixed(3)} to ${accuracy.high.toFixed(3)}, at ${across.label(x)}`;
  return `<g class="point" style="--c:${COLOURS[arm.kind]}" transform="translate(${offset.toFixed(1)})"><title>${escaped(said)}</title><line x1="${at}" x2="${at}" y1="${low}" y2="${high}"/><circle cx="${at}" cy="${value}" r="10"/><text x="${at}" y="${value}" dy=".36em">${number}</text></g>`;
}

/** Shares of right answers, and round ones that hold them all. */
function shares(intervals: readonly Interval[]): Scale & { readonly ticks: readonly number[] } {
  const least = Math.min(...intervals.map(({ low }) => low));
  const most = Math.max(...intervals.map(({ high }) => high));
  const step = [0.02, 0.05, 0.1, 0.2].find((size) => most - least <= 6 * size) ?? 0.2;
  const [first, last] = [Math.floor(least / step + 1e-9), Math.max(1, Math.ceil(most / step - 1e-9))];
  const [from, to] = [first === last ? (last - 1) * step : first * step, last * step];
  const ticks = Array.from({ length: Math.round((to - from) / step) + 1 }, (_, i) => from + i * step);
  return { at: (x) => (x - from) / (to - from), ticks };
}

/** Pixels by which marks are moved that would cover each other. @param places from 0 to 1 */
function beside(places: readonly number[]): readonly number[] {
  const offsets = places.map(() => 0);
  const order = places.map((_, i) => i).sort((a, b) => places[a]! - places[b]!);
  for (let first = 0; first < order.length; ) {
    let end = first + 1;
    while (end < order.length && places[order[end]!]! - places[order[end - 1]!]! < NEAR) end++;
    const count = end - first;
    const apart = Math.min(APART, WIDEST / Math.max(1, count - 1));
    for (let k = 0; k < count; k++) offsets[order[first + k]!] = (k - (count - 1) / 2) * apart;
    first = end;
  }
  return offsets;
}
