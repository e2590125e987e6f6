/** A table and a plot of what the arms came to. */
import { ARMS, type Arm } from './arms.ts';

export interface Run {
  readonly arm: string;
  readonly seed: number;
  /** Held out, in nats a target token: before the first step, and after the last. */
  readonly lossBefore: number;
  readonly loss: number;
  /** Of greedy translations; null where none were made. */
  readonly chrf: number | null;
  readonly bleu: number | null;
  readonly seconds: number;
}

interface Summary {
  readonly arm: Arm;
  readonly runs: readonly Run[];
  readonly before: number;
  readonly loss: Interval;
  /** Difference from dense fine-tuning with the same seed; null where there is none. */
  readonly difference: Interval | null;
  readonly chrf: number | null;
  readonly bleu: number | null;
}

interface Interval {
  readonly mean: number;
  /** Half of the 95 % interval by Student's t; null for one run. */
  readonly half: number | null;
}

/** 97.5 % quantiles of Student's t for 1, 2, … degrees of freedom (any table of it). */
const STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];

function interval(values: readonly number[]): Interval {
  const n = values.length;
  const mean = values.reduce((sum, x) => sum + x, 0) / n;
  if (n < 2) return { mean, half: null };
  const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (n - 1);
  return { mean, half: (STUDENT[n - 2] ?? 1.96) * Math.sqrt(variance / n) };
}

const average = (values: readonly (number | null)[]): number | null => {
  const some = values.filter((x) => x !== null);
  return some.length === 0 ? null : some.reduce((sum, x) => sum + x, 0) / some.length;
};

/** Of the arms that have runs, in their order. */
export function summaries(runs: readonly Run[]): Summary[] {
  const dense = new Map(runs.filter(({ arm }) => arm === 'dense').map((run) => [run.seed, run.loss]));
  return ARMS.flatMap((arm) => {
    const own = runs.filter((run) => run.arm === arm.name);
    if (own.length === 0) return [];
    const paired = own.filter(({ seed }) => dense.has(seed)).map(({ seed, loss }) => loss - dense.get(seed)!);
    return [
      {
        arm,
        runs: own,
        before: average(own.map(({ lossBefore }) => lossBefore))!,
        loss: interval(own.map(({ loss }) => loss)),
        difference: arm.kind === 'dense' || paired.length === 0 ? null : interval(paired),
        chrf: average(own.map(({ chrf }) => chrf)),
        bleu: average(own.map(({ bleu }) => bleu)),
      },
    ];
  });
}

const shown = ({ mean, half }: Interval, sign = false): string =>
  `${sign && mean > 0 ? '+' : ''}${mean.toFixed(4)}${half === null ? '' : ` ± ${half.toFixed(4)}`}`;

/** A table in Markdown. */
export function table(list: readonly Summary[]): string {
  const head = ['initialisation', 'runs', 'loss before', 'held-out loss', 'minus dense', 'chrF', 'BLEU'];
  const rows = list.map(({ arm, runs, before, loss, difference, chrf, bleu }) => [
    arm.about,
    String(runs.length),
    before.toFixed(4),
    shown(loss),
    difference === null ? '' : shown(difference, true),
    chrf === null ? '' : chrf.toFixed(2),
    bleu === null ? '' : bleu.toFixed(2),
  ]);
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  return [line(head), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...rows.map(line)].join('\n');
}

const COLOURS: Readonly<Record<Arm['kind'], string>> = {
  dense: '#444444',
  baseline: '#b35806',
  spri: '#1b7837',
  control: '#2166ac',
};

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;');

/** An SVG as wide as a telephone: each arm a line under its name, a dot for each seed, and the 95 % interval of the mean. */
export function plot(list: readonly Summary[], title: string): string {
  const values = list.flatMap(({ loss, runs }) => [
    ...runs.map((run) => run.loss),
    ...(loss.half === null ? [] : [loss.mean - Math.min(loss.half, 1), loss.mean + Math.min(loss.half, 1)]),
  ]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = 0.06 * (high - low || 1);
  const [left, right, top, row, width] = [16, 16, 62, 40, 440];
  const x = (value: number): number =>
    left + ((value - low + margin) / (high - low + 2 * margin)) * (width - left - right);
  const bottom = top + row * list.length;
  const ticks = ticksOf(low - margin, high + margin);
  const parts: string[] = [];
  for (const tick of ticks) {
    const at = x(tick.value).toFixed(1);
    parts.push(
      `<line x1="${at}" x2="${at}" y1="${top - 8}" y2="${bottom}" stroke="#dddddd"/>`,
      `<text x="${at}" y="${bottom + 18}" text-anchor="middle">${tick.label}</text>`,
    );
  }
  for (const [i, { arm, runs, loss }] of list.entries()) {
    const y = top + row * i + 25;
    const colour = COLOURS[arm.kind];
    parts.push(`<text x="${left}" y="${y - 13}">${escaped(arm.about)}</text>`);
    if (loss.half !== null) {
      const ends = [loss.mean - loss.half, loss.mean + loss.half].map((v) => Math.min(Math.max(x(v), left), width - 4));
      parts.push(
        `<line x1="${ends[0]!.toFixed(1)}" x2="${ends[1]!.toFixed(1)}" y1="${y}" y2="${y}" stroke="${colour}" stroke-width="2"/>`,
      );
    }
    for (const run of runs) {
      parts.push(
        `<circle cx="${x(run.loss).toFixed(1)}" cy="${y}" r="4" fill="${colour}" fill-opacity="0.45"><title>${escaped(`${arm.about}, seed ${run.seed}: ${run.loss.toFixed(4)}`)}</title></circle>`,
      );
    }
    const mean = x(loss.mean).toFixed(1);
    parts.push(`<line x1="${mean}" x2="${mean}" y1="${y - 7}" y2="${y + 7}" stroke="${colour}" stroke-width="3"/>`);
  }
  const height = bottom + 30;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="13" fill="#222222">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${left}" y="24" font-size="15" font-weight="600">${escaped(title)}</text>`,
    `<text x="${left}" y="42">nats a target token; dots: seeds; bars: mean and 95 % interval</text>`,
    ...parts,
    '</svg>',
  ].join('\n');
}

function ticksOf(low: number, high: number): { value: number; label: string }[] {
  const rough = (high - low) / 5;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((m) => m * unit >= rough) ?? 10);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  const ticks: { value: number; label: string }[] = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) {
    ticks.push({ value: i * step, label: (i * step).toFixed(digits) });
  }
  return ticks;
}
