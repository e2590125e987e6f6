import { escaped } from './text.ts';

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

/** A time for people. */
export function duration(milliseconds: number): string {
  if (milliseconds < 999.5) return `${Number(milliseconds.toPrecision(2))} ms`;
  const seconds = milliseconds / 1000;
  return seconds < 59.95 ? `${Number(seconds.toPrecision(2))} s` : `${Number((seconds / 60).toPrecision(3))} min`;
}

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
