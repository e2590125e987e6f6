import { htmlPage } from '../../page/document.ts';
import { duration, figures, NOT_MEASURED, table, whole } from '../../page/html.ts';
import { dataElement, escaped } from '../../page/text.ts';
import type { ArmFigures } from '../report.ts';
import { COLOURS, shotsChart, timeChart } from './chart.ts';
import type { Evaluation } from './evaluation.ts';
import { example, examplesOf, fitting } from './examples.ts';
import { histograms } from './histograms.ts';
import { itemsOf, type Pair } from './pairs.ts';
import { SCRIPT } from './script.ts';
import { EVALUATION_STYLE } from './style.ts';
import { type Summary, summaryOf } from './summary.ts';

/** Pairs that a table of all of them has at most; the page compares any two where scripts run. */
const MOST_PAIRS = 200;

/**
 * An evaluation as one HTML page that needs nothing else: what was asked, a table of the arms, their accuracy against examples and time, what
 * adaptive arms saw, where arms differ, and items to be opened. Without scripts it compares what it begins with, and every two arms in a table.
 *
 * @param evaluation what `evaluate` was asked and recorded
 * @throws E_ARGUMENT for what is none, for records of other data, and where `against` names no arm
 */
export function evaluationPage(evaluation: Evaluation): string {
  const summary = summaryOf(evaluation, 'evaluationPage()');
  const { reports, setting, pairs } = summary;
  const { model, options } = summary.evaluation;
  const [shots, time] = [shotsChart(options.arms, reports), timeChart(options.arms, reports)];
  const none = '<p class="none">No arm has answered anything.</p>';
  const parts: readonly (readonly [title: string, html: string])[] = [
    ['Arms', armsTable(summary)],
    ['Accuracy against examples', shots ?? none],
    ['Accuracy against time', time ?? none],
    ['What adaptive arms saw', histograms(summary.entropies)],
    ['Where two arms differ', pairsPart(summary)],
    ['Items', examplesPart(summary)],
  ];
  const compared = pairs.length > 0 && summary.answers.length > 0;
  const body = `<main>
<h1>Showing examples <span class="model">${escaped(model)}</span></h1>
${figures(setting.map(([name, value]) => [name, escaped(value)]))}
${parts.map(([title, html]) => `<h2>${title}</h2>\n${html}`).join('\n')}
</main>
${compared ? `${pairsData(summary)}\n<script>${SCRIPT}</script>` : ''}`;
  return htmlPage(`Showing examples: ${model}, ${summary.evaluation.data}`, EVALUATION_STYLE, body);
}

function armsTable({ evaluation, reports }: Summary): string {
  const { options, against } = evaluation;
  const whole1 = (x: number): string => (Number.isInteger(x) ? whole(x) : x.toFixed(1));
  const time = (x: number | null): string => (x === null ? '–' : duration(x));
  const range = ({ low, high }: ArmFigures['accuracy']): string => `<small>${minus(low)} to ${minus(high)}</small>`;
  const rows = reports.map(({ arm, items, result }, i) => {
    const name = `<span class="no" style="--c:${COLOURS[options.arms[i]!.kind]}">${i + 1}</span>${escaped(arm)}`;
    if (result === null)
      return { cells: [name, NOT_MEASURED, '–', '–', '–', ...(against === undefined ? [] : ['–']), whole(items)] };
    const { accuracy, difference, meanShots, milliseconds, firstMilliseconds } = result;
    const held = difference ? `${signed(difference.value)} ${range(difference)}` : '–';
    return {
      cells: [
        name,
        `${accuracy.value.toFixed(3)} ${range(accuracy)}`,
        whole1(meanShots),
        time(milliseconds),
        time(firstMilliseconds),
        ...(against === undefined ? [] : [held]),
        whole(items),
      ],
    };
  });
  const held = against === undefined ? [] : [`against ${against}`];
  const heads = ['arm', 'right, 95 %', 'examples', 'a query', 'first token', ...held, 'items'];
  const skipped = reports.flatMap(({ arm, skipped }) =>
    skipped === null ? [] : [`<li>${escaped(arm)}: ${escaped(skipped)}</li>`],
  );
  return `${table('Arms', heads, rows)}
<p class="hint">Right: the share of items, with a percentile bootstrap interval. Times are means, without what is encoded once and used again. An oracle knows the truth: what choosing the number of examples could give at best.</p>
${skipped.length === 0 ? '' : `<p>Skipped:</p>\n<ul>\n${skipped.join('\n')}\n</ul>`}`;
}

/** With the sign of numbers, not a hyphen. */
export const minus = (value: number): string => value.toFixed(3).replace('-', '−');

export const signed = (value: number): string => `${value < 0 ? '' : '+'}${minus(value)}`;

/** A probability of chance. */
export const chance = (p: number): string => (p < 0.001 ? p.toExponential(1) : p.toFixed(3));

function pairsPart({ evaluation, pairs }: Summary): string {
  const { arms } = evaluation.options;
  const [first] = pairs;
  if (!first) return '<p class="none">Fewer than two arms have answered.</p>';
  const [a, b] = [escaped(arms[first.a]!.name), escaped(arms[first.b]!.name)];
  const listed = pairs.slice(0, MOST_PAIRS);
  const rows = listed.map((pair) => ({ cells: pairCells(evaluation, pair) }));
  const left = pairs.length - listed.length;
  const heads = ['first', 'second', 'items', 'both right', 'only the first', 'only the second', 'neither', 'p'];
  return `<div class="choose" hidden><select id="arm-a" aria-label="First arm"></select> against <select id="arm-b" aria-label="Second arm"></select></div>
<p><b id="name-a">${a}</b> against <b id="name-b">${b}</b>, over the items that both answered:</p>
<dl>
<div><dt>both right</dt><dd id="both">${first.both}</dd></div>
<div><dt>only <span id="only-name-a">${a}</span></dt><dd id="only-a">${first.onlyA}</dd></div>
<div><dt>only <span id="only-name-b">${b}</span></dt><dd id="only-b">${first.onlyB}</dd></div>
<div><dt>neither</dt><dd id="none">${first.none}</dd></div>
<div><dt>p (exact McNemar test)</dt><dd id="p">${chance(first.p)}</dd></div>
</dl>
<p class="hint">p: how likely items that one alone has right are split at least as unevenly by chance.</p>
<details><summary>Every two arms${left > 0 ? `, the first ${listed.length} of ${pairs.length} pairs` : ''}</summary>
${table('Every two arms', heads, rows)}
</details>`;
}

function pairCells({ options: { arms } }: Evaluation, pair: Pair): readonly string[] {
  const { a, b, both, onlyA, onlyB, none, p } = pair;
  const names = [arms[a]!.name, arms[b]!.name].map(escaped);
  return [...names, ...[itemsOf(pair), both, onlyA, onlyB, none].map(whole), chance(p)];
}

function pairsData({ evaluation, pairs }: Summary): string {
  const asked = new Set(pairs.flatMap(({ a, b }) => [a, b]));
  return dataElement('pairs', {
    arms: evaluation.options.arms.flatMap(({ name }, i) => (asked.has(i) ? [[i, name]] : [])),
    pairs: pairs.map(({ a, b, both, onlyA, onlyB, none, p }) => [a, b, both, onlyA, onlyB, none, chance(p)]),
    first: [pairs[0]!.a, pairs[0]!.b],
  });
}

function examplesPart(summary: Summary): string {
  const { answers, evaluation, pairs } = summary;
  const list = examplesOf(summary, fitting(evaluation.options.arms.length));
  if (list.length === 0) return '<p class="none">There is none.</p>';
  const [first] = pairs;
  const differ = first !== undefined && first.onlyA + first.onlyB > 0;
  const option = (value: string): string =>
    `<option value="${value}"${value === (differ ? 'differ' : 'all') ? ' selected' : ''}>${value}</option>`;
  const left = answers.length - list.length;
  const some = left > 0 ? ` ${whole(left)} more items are counted and not listed.` : '';
  const unknown = evaluation.task === undefined ? ' Queries and examples are not shown: the data were not given.' : '';
  return `<p class="hint">Open one for what each arm answered. Probabilities are among all labels; of a vote they are its shares. First come those that one of the two arms above alone has right.${some}${unknown}</p>
<div class="choose" hidden><label>Items: <select id="which">${['differ', 'a', 'b', 'both', 'none', 'all'].map(option).join('')}</select></label> <span id="count" class="hint" role="status"></span></div>
${list.map((one) => example(one, summary)).join('\n')}`;
}
