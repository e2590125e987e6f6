import { escaped } from '../entropy/page-text.ts';

/** What stands where nothing was measured. */
export const NOT_MEASURED = '<span class="none">not measured</span>';

/** A number for people: few digits, powers of ten where it is small; `NOT_MEASURED` where there is none. */
export function figure(x: number | null | undefined): string {
  if (typeof x !== 'number' || !Number.isFinite(x)) return NOT_MEASURED;
  if (x === 0) return '0';
  if (Math.abs(x) >= 0.001) return Number.isInteger(x) ? whole(x) : String(Number(x.toPrecision(3)));
  const [digits, power] = x.toExponential(1).split('e') as [string, string];
  return `${digits === '1.0' ? '' : `${digits} · `}10<sup>${power.replace('-', '−')}</sup>`;
}

/** The same as a text without markup. */
export const plainFigure = (x: number): string => (x === 0 || Math.abs(x) >= 0.001 ? figure(x) : x.toExponential(1));

export const whole = (x: number): string => String(Math.round(x)).replace(/\B(?=(\d{3})+$)/g, ' ');

export const percent = (share: number | null | undefined): string =>
  typeof share === 'number' && Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : NOT_MEASURED;

/**
 * @param rows of cells, HTML; a row that is marked has a class
 * @param isWide whether it has long cells, which stand below each other where there is little room
 */
export function table(
  caption: string,
  heads: readonly string[],
  rows: readonly { readonly cells: readonly string[]; readonly kind?: string }[],
  isWide = false,
): string {
  const body = rows.map(({ cells, kind }) => {
    const [first, ...rest] = cells;
    const mark = kind === undefined ? '' : ` class="${kind}"`;
    const others = rest.map((cell, i) => `<td data-head="${escaped(heads[i + 1]!)}">${cell}</td>`);
    return `<tr${mark}><th scope="row">${first}</th>${others.join('')}</tr>`;
  });
  return `<div class="wide${isWide ? ' long' : ''}" tabindex="0" role="region" aria-label="${escaped(caption)}"><table>
<thead><tr>${heads.map((head) => `<th scope="col">${escaped(head)}</th>`).join('')}</tr></thead>
<tbody>
${body.join('\n')}
</tbody>
</table></div>`;
}

/** Figures with what they are above them. */
export function figures(list: readonly (readonly [name: string, value: string])[]): string {
  return `<dl>\n${list.map(([name, value]) => `<div><dt>${escaped(name)}</dt><dd>${value}</dd></div>`).join('\n')}\n</dl>`;
}

export const code = (text: string): string => `<code>${escaped(text)}</code>`;

/** Beside that of audits. */
export const REPORT_STYLE = `
.none { color: var(--soft); font-style: italic; }
.wide { overflow-x: auto; margin: .75rem 0; overflow-wrap: normal; }
.wide table { border-collapse: collapse; font-size: .9rem; min-width: 100%; }
.wide th, .wide td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; font-variant-numeric: tabular-nums; }
.wide th { font-weight: 600; } .wide thead th { color: var(--soft); font-weight: 400; font-size: .8rem; vertical-align: bottom; }
.chosen th, .chosen td { background: var(--low); color: var(--low-ink); font-weight: 700; }
.bad { color: var(--bad); font-weight: 700; }
code { font: .85em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; word-break: break-all; }
.plot { position: relative; height: 18rem; margin: 1.5rem 1.25rem 0 4.5rem; border-left: 1px solid var(--soft); border-bottom: 1px solid var(--soft); }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; border: 0; overflow: visible; }
.plot polyline { fill: none; stroke: var(--low-bar); stroke-width: 2px; vector-effect: non-scaling-stroke; }
.plot .grid { stroke: var(--line); stroke-dasharray: none; stroke-width: 1px; }
.plot .goal { stroke: var(--high-bar); }
.dot { position: absolute; width: .7rem; height: .7rem; margin: -.35rem; border-radius: 50%; background: var(--low-bar); border: 1px solid var(--page); }
.dot.other { background: var(--page); border-color: var(--low-bar); }
.dot.start { background: var(--soft); border-radius: 0; }
.dot.pick { z-index: 1; width: 1.1rem; height: 1.1rem; margin: -.55rem; background: var(--high-bar); border: 3px solid var(--ink); }
.tick, .label { position: absolute; font-size: .8rem; white-space: nowrap; color: var(--soft); line-height: 1; }
.tick { right: calc(100% + .4rem); transform: translateY(50%); }
.label { color: var(--ink); background: var(--page); padding: .1rem .25rem; border-radius: .2rem; }
.across { display: flex; justify-content: space-between; margin: .35rem 1.25rem 0 4.5rem; color: var(--soft); font-size: .8rem; gap: .5rem; }
.keys { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .35rem 1.5rem; font-size: .875rem; }
.keys .dot { position: static; display: inline-block; margin: 0 .4rem 0 0; vertical-align: -.08rem; }
.keys .line { display: inline-block; width: 1.2rem; border-top: 2px dashed var(--high-bar); margin-right: .4rem; vertical-align: .25rem; }
.across span { white-space: nowrap; }
details summary { cursor: pointer; color: var(--soft); font-size: .9rem; }
@media (max-width: 40rem) {
  .long thead { display: none; }
  .long tr { display: block; border-bottom: 1px solid var(--line); padding: .4rem 0; }
  .long th, .long td { display: block; border: 0; padding: .1rem 0; }
  .long td::before { content: attr(data-head) ": "; color: var(--soft); }
  .plot { margin-left: 3.25rem; } .across { margin-left: 3.25rem; }
}
.side { font-size: .95rem; margin: 1.5rem 0 .25rem; color: var(--ink); }
`;
