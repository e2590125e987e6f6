/** Forget quality against what is kept: a dot a seed, as an SVG. */
import { type Figures, foundOf, type Results } from './results.ts';
import type { Ours, RivalName, Split } from './runs.ts';
import { ABOUT, METHODS, unlearnedBy } from './tables.ts';

/** Told apart side by side, ours the darkest. */
const COLOURS: Readonly<Record<Ours | RivalName, string>> = {
  alter: '#00441b',
  'alter-hinge': '#41ab5d',
  asymmetric: '#a1d99b',
  npo: '#b35806',
  simnpo: '#f1a340',
  hinge: '#2166ac',
  'grad-diff': '#d6604d',
  'idk-dpo': '#762a83',
  undial: '#999900',
  rmu: '#1a9ba1',
  'grad-ascent': '#e377c2',
};
/** Below this quality dots stand on the lower edge. */
const LEAST = -25;
const [WIDTH, LEFT, RIGHT, HEIGHT] = [440, 64, 16, 230];

interface Dot {
  /** Shares of what was there before. */
  readonly utility: number;
  readonly retain: number;
  readonly log10: number;
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
  const { plainUtility, retain } = before.model;
  const dot = (title: string, own: Figures): Dot => {
    const shares = { utility: own.plainUtility! / plainUtility!, retain: own.retain / retain };
    const said = Object.entries(shares).map(([name, share]) => `${name} ${(100 * share).toFixed(1)} %`);
    return {
      ...{ ...shares, log10: Math.max(LEAST, own.log10) },
      title: `${title}: p = 10^${own.log10.toFixed(1)}, ${said.join(', ')}`,
    };
  };
  const groups: Group[] = [
    { name: 'before', colour: '#777777', dots: [dot('before', before.model)] },
    { name: 'reference', colour: '#000000', dots: [dot('reference', before.reference)] },
    ...METHODS.flatMap((method): Group[] => {
      const list = unlearnedBy(results, method, split);
      const dots = list.map(({ run, found: { figures } }) => dot(`${ABOUT[method]}, seed ${run.seed}`, figures));
      return dots.length === 0 ? [] : [{ name: ABOUT[method], colour: COLOURS[method], dots }];
    }),
  ];
  return drawn(groups, split);
}

/** One over the other: against utility, which hardly tells what is lost, and against the answers that are kept. */
function drawn(groups: readonly Group[], split: Split): string {
  const [first, second] = [78, 78 + HEIGHT + 68];
  const legend = second + HEIGHT + 46;
  const names = groups.flatMap(({ name, colour }, i) => {
    const [at, line] = [24 + (i % 2) * 216, legend + 20 * Math.floor(i / 2)];
    return [
      `<circle cx="${at}" cy="${line - 4}" r="4.5" fill="${colour}"/>`,
      `<text x="${at + 10}" y="${line}">${escaped(name)}</text>`,
    ];
  });
  const height = legend + 20 * Math.ceil(groups.length / 2);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13" fill="#222222">`,
    `<title>${escaped(`Forget quality and what is kept, ${split}`)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="16" y="24" font-size="15" font-weight="600">${escaped(`Forget quality and what is kept, ${split}`)}</text>`,
    '<text x="16" y="42">up: p, above the dashed line more than .05; a dot a seed</text>',
    ...panel(groups, first, 'utility kept, without ROUGE-L', ({ utility }) => utility),
    ...panel(groups, second, 'probability of kept answers, of what it was', ({ retain }) => retain),
    ...names,
    '</svg>',
    '',
  ].join('\n');
}

function panel(groups: readonly Group[], top: number, title: string, get: (dot: Dot) => number): string[] {
  const all = groups.flatMap(({ dots }) => dots.map(get));
  const [low, high] = [Math.min(0.9, ...all) - 0.01, Math.max(1.02, ...all) + 0.01];
  const x = (value: number): number => LEFT + ((value - low) / (high - low)) * (WIDTH - LEFT - RIGHT);
  const y = (log10: number): number => top + (log10 / LEAST) * HEIGHT;
  const parts = [`<text x="${LEFT}" y="${top - 10}">${escaped(title)}</text>`];
  for (const tick of [0, -5, -10, -15, -20, LEAST]) {
    const said = tick === LEAST ? `≤ 1e${tick}` : tick === 0 ? '1' : `1e${tick}`;
    parts.push(
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(tick).toFixed(1)}" y2="${y(tick).toFixed(1)}" stroke="#dddddd"/>`,
      `<text x="${LEFT - 6}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${said}</text>`,
    );
  }
  const step = high - low > 0.5 ? 0.2 : high - low > 0.2 ? 0.05 : 0.02;
  for (let i = Math.ceil(low / step); i * step <= high; i++) {
    const at = x(i * step).toFixed(1);
    parts.push(
      `<line x1="${at}" x2="${at}" y1="${top}" y2="${top + HEIGHT}" stroke="#eeeeee"/>`,
      `<text x="${at}" y="${top + HEIGHT + 18}" text-anchor="middle">${(100 * i * step).toFixed(0)} %</text>`,
    );
  }
  const enough = y(Math.log10(0.05)).toFixed(1);
  parts.push(
    `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${enough}" y2="${enough}" stroke="#888888" stroke-dasharray="4 3"/>`,
  );
  for (const { colour, dots } of groups) {
    for (const own of dots) {
      const [cx, cy] = [x(get(own)).toFixed(1), y(own.log10).toFixed(1)];
      parts.push(
        `<circle cx="${cx}" cy="${cy}" r="4.5" fill="${colour}" fill-opacity="0.7"><title>${escaped(own.title)}</title></circle>`,
      );
    }
  }
  return parts;
}
