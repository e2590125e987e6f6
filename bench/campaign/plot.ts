/** Forget quality against utility kept: a dot a seed, as an SVG. */
import { foundOf, type Results } from './results.ts';
import type { Split } from './runs.ts';
import { ABOUT, METHODS, unlearnedBy } from './tables.ts';

const COLOURS = [
  '#1b7837',
  '#5aae61',
  '#a6dba0',
  '#b35806',
  '#e08214',
  '#2166ac',
  '#d6604d',
  '#762a83',
  '#999900',
  '#1a9ba1',
];
/** Below this quality dots stand on the lower edge. */
const LEAST = -25;

interface Dot {
  readonly x: number;
  readonly y: number;
  readonly title: string;
}

interface Group {
  readonly name: string;
  readonly colour: string;
  readonly dots: readonly Dot[];
}

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;');

/** @returns null where nothing of the split was measured */
export function plot(results: Results, split: Split): string | null {
  const before = foundOf<'before'>(results, { kind: 'before', split });
  if (before === undefined) return null;
  const whole = before.model.plainUtility!;
  const dot = (title: string, utility: number, log10: number): Dot => ({
    ...{ x: utility / whole, y: Math.max(LEAST, log10) },
    title: `${title}: p = 10^${log10.toFixed(1)}, utility ${((100 * utility) / whole).toFixed(1)} %`,
  });
  const groups: Group[] = [
    { name: 'before', colour: '#444444', dots: [dot('before', whole, before.model.log10)] },
    { name: 'reference', colour: '#000000', dots: [dot('reference', before.reference.plainUtility!, 0)] },
    ...METHODS.flatMap((method, i): Group[] => {
      const list = unlearnedBy(results, method, split);
      const dots = list.map(({ run, found: { figures } }) =>
        dot(`${ABOUT[method]}, seed ${run.seed}`, figures.plainUtility!, figures.log10),
      );
      return dots.length === 0 ? [] : [{ name: ABOUT[method], colour: COLOURS[i % COLOURS.length]!, dots }];
    }),
  ];
  return drawn(groups, `Forget quality and utility kept, ${split}`);
}

function drawn(groups: readonly Group[], title: string): string {
  const all = groups.flatMap(({ dots }) => dots);
  const [low, high] = [Math.min(0.9, ...all.map(({ x }) => x)), Math.max(1.02, ...all.map(({ x }) => x))];
  const [left, right, top, plotHeight, width] = [52, 16, 62, 260, 440];
  const x = (value: number): number => left + ((value - low) / (high - low)) * (width - left - right);
  const y = (log10: number): number => top + (log10 / LEAST) * plotHeight;
  const parts: string[] = [];
  for (const tick of [0, -5, -10, -15, -20, -25]) {
    const at = y(tick).toFixed(1);
    parts.push(
      `<line x1="${left}" x2="${width - right}" y1="${at}" y2="${at}" stroke="#dddddd"/>`,
      `<text x="${left - 6}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${tick === LEAST ? `≤ 1e${tick}` : tick === 0 ? '1' : `1e${tick}`}</text>`,
    );
  }
  const step = high - low > 0.5 ? 0.2 : high - low > 0.2 ? 0.05 : 0.02;
  for (let i = Math.ceil(low / step); i * step <= high; i++) {
    const at = x(i * step).toFixed(1);
    parts.push(
      `<line x1="${at}" x2="${at}" y1="${top}" y2="${top + plotHeight}" stroke="#eeeeee"/>`,
      `<text x="${at}" y="${top + plotHeight + 18}" text-anchor="middle">${(100 * i * step).toFixed(0)} %</text>`,
    );
  }
  const enough = y(Math.log10(0.05)).toFixed(1);
  parts.push(
    `<line x1="${left}" x2="${width - right}" y1="${enough}" y2="${enough}" stroke="#888888" stroke-dasharray="4 3"/>`,
  );
  for (const { colour, dots } of groups) {
    for (const own of dots) {
      const [cx, cy] = [x(own.x).toFixed(1), y(own.y).toFixed(1)];
      parts.push(
        `<circle cx="${cx}" cy="${cy}" r="4.5" fill="${colour}" fill-opacity="0.6"><title>${escaped(own.title)}</title></circle>`,
      );
    }
  }
  const legend = top + plotHeight + 38;
  for (const [i, { name, colour }] of groups.entries()) {
    const [at, line] = [left - 36 + (i % 2) * 200, legend + 20 * Math.floor(i / 2)];
    parts.push(
      `<circle cx="${at}" cy="${line - 4}" r="4.5" fill="${colour}"/>`,
      `<text x="${at + 10}" y="${line}">${escaped(name)}</text>`,
    );
  }
  const height = legend + 20 * Math.ceil(groups.length / 2);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="13" fill="#222222">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="16" y="24" font-size="15" font-weight="600">${escaped(title)}</text>`,
    '<text x="16" y="42">up: p (dashed: .05); right: utility kept, without ROUGE-L</text>',
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}
