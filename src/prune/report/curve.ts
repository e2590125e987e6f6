import { figure, plainFigure } from '../../page/html.ts';
import { decades, range } from '../../page/scale.ts';
import { escaped } from '../../page/text.ts';
import type { PruneReport, ReportedLook } from './report.ts';

/** A measure that states are compared by. */
interface Axis {
  readonly name: string;
  readonly of: (look: ReportedLook) => number | undefined;
}

/** Which of them there is, the better first. */
const FORGETTING: readonly Axis[] = [
  { name: 'forget quality (p of a KS test, higher is better)', of: (look) => look.forgetQuality },
  { name: 'probability of answers to be forgotten (lower is better)', of: (look) => look.forget },
];
const KEEPING: readonly Axis[] = [
  { name: 'model utility', of: (look) => look.utility },
  { name: 'probability of answers to be kept', of: (look) => look.retain },
];

interface Point {
  readonly look: ReportedLook;
  /** From 0 to 1, rightwards and upwards. */
  readonly x: number;
  readonly y: number;
}

/** The measures that every state has, or null. */
export function axesOf(looks: readonly ReportedLook[]): { readonly forgetting: Axis; readonly keeping: Axis } | null {
  const first = (axes: readonly Axis[]) =>
    axes.find((axis) => looks.length > 0 && looks.every((look) => Number.isFinite(axis.of(look))));
  const [forgetting, keeping] = [first(FORGETTING), first(KEEPING)];
  return forgetting && keeping ? { forgetting, keeping } : null;
}

export function isChosen(look: ReportedLook, chosen: ReportedLook | undefined): boolean {
  return chosen !== undefined && look.look === chosen.look && (look.strength ?? 1) === (chosen.strength ?? 1);
}

/**
 * What was forgotten against what was kept, look by look: forgetting upwards by its logarithm, keeping rightwards. Null where states were not
 * measured.
 */
export function tradeOff({ looks = [], chosen, before, target }: PruneReport): string | null {
  const all = looks.flat();
  const axes = axesOf(all);
  if (!axes) return null;
  const { forgetting, keeping } = axes;
  const byProbability = forgetting === FORGETTING[1];
  const start: ReportedLook | null =
    before && byProbability && keeping === KEEPING[1] ? { look: 0, epoch: 0, ...before } : null;
  const goal = byProbability ? (target?.probability ?? null) : null;
  const shown = start ? [start, ...all] : all;
  const heights = shown.map((look) => forgetting.of(look)!);
  const up = decades(goal === null ? heights : [...heights, goal]);
  const across = range(shown.map((look) => keeping.of(look)!));
  const points = shown.map(
    (look): Point => ({ look, x: across.at(keeping.of(look)!), y: up.at(forgetting.of(look)!) }),
  );
  const way = points.filter(({ look }) => (look.strength ?? 1) === 1);
  const line = way.map(({ x, y }) => `${(100 * x).toFixed(2)},${(100 - 100 * y).toFixed(2)}`).join(' ');
  const level = (y: number, kind: string): string => {
    const at = (100 - 100 * y).toFixed(2);
    return `<line class="${kind}" x1="0" x2="100" y1="${at}" y2="${at}"/>`;
  };
  const ticks = up.ticks.map(
    (value) => `<span class="tick" style="bottom:${(100 * up.at(value)).toFixed(2)}%">${figure(value)}</span>`,
  );
  const label = textOf(all, chosen, forgetting, keeping);
  return `<figure>
<p class="hint">Upwards: ${escaped(forgetting.name)}. Rightwards: ${escaped(keeping.name)}.</p>
<div class="plot" role="img" aria-label="${escaped(label)}">
<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
${up.ticks.map((value) => level(up.at(value), 'grid')).join('\n')}
${goal === null ? '' : level(up.at(goal), 'goal')}
<polyline points="${line}"/>
</svg>
${[...ticks, ...points.map((point) => dot(point, start, chosen))].join('\n')}
</div>
<div class="across"><span>${figure(across.from)}</span><span>more is kept →</span><span>${figure(across.to)}</span></div>
${keys(
  all,
  start !== null,
  all.some((look) => isChosen(look, chosen)),
  goal,
)}
</figure>`;
}

function keys(all: readonly ReportedLook[], hasStart: boolean, hasChosen: boolean, goal: number | null): string {
  const list = [
    hasStart ? '<span class="dot start"></span>without the adapter' : null,
    '<span class="dot"></span>a look, in turn along the line',
    all.some((look) => (look.strength ?? 1) !== 1)
      ? '<span class="dot other"></span>the same with another strength'
      : null,
    hasChosen ? '<span class="dot pick"></span>chosen' : null,
    goal === null ? null : `<span class="line"></span>answers that were never learned: ${figure(goal)}`,
  ];
  return `<ul class="keys">\n${list.flatMap((key) => (key === null ? [] : [`<li>${key}</li>`])).join('\n')}\n</ul>`;
}

function dot({ look, x, y }: Point, start: ReportedLook | null, chosen: ReportedLook | undefined): string {
  const picked = isChosen(look, chosen);
  const kind = look === start ? ' start' : picked ? ' pick' : (look.strength ?? 1) !== 1 ? ' other' : '';
  const place = `left:${(100 * x).toFixed(2)}%;bottom:${(100 * y).toFixed(2)}%`;
  const said = look === start ? 'without the adapter' : nameOf(look);
  const mark = `<span class="dot${kind}" style="${place};margin-bottom:${picked ? '-.55' : '-.35'}rem" title="${said}"></span>`;
  if (!picked) return mark;
  // towards the middle, so that it stays inside
  const side =
    x > 0.5 ? `right:calc(${(100 - 100 * x).toFixed(2)}% + .8rem)` : `left:calc(${(100 * x).toFixed(2)}% + .8rem)`;
  return `${mark}<span class="label" style="${side};bottom:clamp(0%, calc(${(100 * y).toFixed(2)}% - .5rem), calc(100% - 1rem))">chosen: ${said}</span>`;
}

function nameOf({ look, strength = 1 }: ReportedLook): string {
  return `look ${plainFigure(look)}${strength === 1 ? '' : ` at strength ${plainFigure(strength)}`}`;
}

/** For those who do not see it. */
function textOf(
  all: readonly ReportedLook[],
  chosen: ReportedLook | undefined,
  forgetting: Axis,
  keeping: Axis,
): string {
  const at = (look: ReportedLook) =>
    `${nameOf(look)}: ${plainFigure(forgetting.of(look)!)} against ${plainFigure(keeping.of(look)!)}`;
  const [first, last] = [all[0]!, all.at(-1)!];
  const pick = all.find((look) => isChosen(look, chosen));
  const ends = first === last ? at(first) : `${at(first)}; ${at(last)}`;
  return `${forgetting.name} against ${keeping.name}, ${all.length} states. ${ends}${pick ? `; chosen, ${at(pick)}` : ''}.`;
}
