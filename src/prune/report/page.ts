import { htmlPage } from '../../page/document.ts';
import { code, figure, figures, NOT_MEASURED, percent, table, whole } from '../../page/html.ts';
import { escaped } from '../../page/text.ts';
import { expertsStatement } from '../entropy/experts.ts';
import { histogram } from '../entropy/page-histogram.ts';
import { SCRIPT, STYLE } from '../entropy/page-parts.ts';
import { legend, tokenData, tokensHtml } from '../entropy/page-tokens.ts';
import { bimodalityStatement, splitStatement } from '../entropy/statement.ts';
import { checkReport } from './check.ts';
import { isChosen, tradeOff } from './curve.ts';
import { isolationPart } from './isolation-part.ts';
import type { PruneReport, ReportedLook } from './report.ts';
import { REPORT_STYLE } from './style.ts';

/**
 * What a pruning did, as one HTML page that needs nothing else: what was forgotten and kept, how that was measured, what was isolated, and how to
 * take it back. What was not measured is said to be so.
 * @throws E_ARGUMENT for what is no such report
 */
export function prunePage(report: PruneReport): string {
  checkReport(report);
  const { source, request } = report;
  const samples = samplesOf(report);
  const title = request === undefined ? 'What was forgotten' : `What was forgotten: ${request}`;
  const parts: readonly (readonly [title: string, html: string])[] = [
    ['Measures', measuresPart(report)],
    ['Forgotten and kept', sidesPart(report)],
    ['Sub-domains', domainsPart(report)],
    ['Entropies of what is learned', entropiesPart(report)],
    ['The trade-off', tradeOff(report) ?? `<p>${NOT_MEASURED}</p>`],
    ['Looks', looksPart(report)],
    ['Isolation', report.isolation ? isolationPart(report.isolation, namesOf(report)) : `<p>${NOT_MEASURED}</p>`],
    ['The gate', gatePart(report)],
    ['Samples', samples?.html ?? `<p>${NOT_MEASURED}</p>`],
    ['How to take it back', backPart(report)],
  ];
  const body = `<main>
<h1>${escaped(title)} <span class="model">${escaped(source.name)}</span></h1>
<p>An adapter with which the model forgets what was named and keeps the rest, made by a reconstruction of ALTER (arXiv 2603.01792), whose authors published no code.</p>
${summary(report)}
${parts.map(([name, html]) => `<h2>${name}</h2>\n${html}`).join('\n')}
</main>
${samples === null ? '' : `<aside id="details" role="status" hidden></aside>\n${samples.data}\n<script>${SCRIPT}</script>`}`;
  return htmlPage(title, STYLE + REPORT_STYLE, body);
}

/** Of forget experts: as the adapter names them, or, where it is not told, as an audit does. */
const namesOf = ({ experts, samples }: PruneReport): readonly string[] =>
  experts ?? samples?.find(({ audit }) => audit.experts)?.audit.experts ?? [];

function summary({ before, after, measured, isolation, parameters, steps, seconds, peakBytes }: PruneReport): string {
  const change = (a: number | null | undefined, b: number | null | undefined): string => `${figure(a)} → ${figure(b)}`;
  const count = measured ? `, of ${whole(measured.forget)} and ${whole(measured.retain)} examples` : '';
  const list: (readonly [string, string])[] = [
    ['answers to be forgotten', change(before?.forget, after?.forget)],
    ['answers to be kept', change(before?.retain, after?.retain)],
    ['isolation', isolationFigure(isolation)],
  ];
  const work: (readonly [string, string])[] = [
    ...(parameters === undefined ? [] : [['parameters', whole(parameters)] as const]),
    ...(steps === undefined ? [] : [['steps', whole(steps)] as const]),
    ...(seconds === undefined ? [] : [['seconds', whole(seconds)] as const]),
    ...(peakBytes === undefined ? [] : [['most memory', `${whole(peakBytes / 2 ** 20)} MiB`] as const]),
  ];
  return `${figures(list)}
<p class="hint">Of answers: the mean probability of a token, without the adapter → with it${count}.</p>
${work.length > 0 ? figures(work) : ''}`;
}

function isolationFigure(isolation: PruneReport['isolation']): string {
  if (isolation === undefined) return NOT_MEASURED;
  if (!isolation.holds) return '<span class="bad">broken</span>';
  return isolation.closed ? 'holds' : 'holds so far';
}

function measuresPart({ measures = [] }: PruneReport): string {
  if (measures.length === 0) return `<p>${NOT_MEASURED}</p>`;
  const hasAim = measures.some(({ aim }) => typeof aim === 'number');
  const rows = measures.map(({ name, before, after, aim }) => ({
    cells: [
      escaped(name),
      figure(before),
      figure(after),
      ...(hasAim ? [typeof aim === 'number' ? figure(aim) : '–'] : []),
    ],
  }));
  const heads = ['measure', 'without the adapter', 'with it', ...(hasAim ? ['should come to'] : [])];
  return table('Measures', heads, rows, true);
}

function sidesPart({ data, source, earlier = [] }: PruneReport): string {
  const row = (name: string, { examples, tokens, digest }: PruneReport['data']['forget']) => ({
    cells: [name, whole(examples), tokens === undefined ? NOT_MEASURED : whole(tokens), code(digest)],
  });
  const before = earlier.length > 0 ? `<p>Requests before this one: ${earlier.map(escaped).join(', ')}.</p>\n` : '';
  return `${table('Data', ['', 'examples', 'tokens', 'digest'], [row('forgotten', data.forget), row('kept', data.retain)], true)}
${before}<p>The model: ${code(source.digest)}${source.architecture === undefined ? '' : `, ${escaped(source.architecture)}`}${source.bytes === undefined ? '' : `, ${whole(source.bytes / 2 ** 20)} MiB`}.</p>`;
}

function domainsPart({ domains }: PruneReport): string {
  if (domains === undefined) return `<p>${NOT_MEASURED}</p>`;
  return table(
    'Sub-domains',
    ['name', 'examples'],
    domains.map(({ name, examples }) => ({ cells: [escaped(name), whole(examples)] })),
  );
}

function entropiesPart({ entropies }: PruneReport): string {
  if (entropies === undefined) return `<p>${NOT_MEASURED}</p>`;
  const { split, distribution } = entropies;
  return `<p>${escaped(splitStatement(split)).replace(/S_([\d.]+)/, 'S<sub>$1</sub>')} Facts are in the low ones, which are forgotten.</p>
${histogram(distribution.histogram, split.cut, distribution.most)}
<p>${escaped(bimodalityStatement(distribution))}</p>`;
}

function looksPart({ looks = [], chosen, strength, target }: PruneReport): string {
  const all = looks.flat();
  if (all.length === 0) return `<p>${NOT_MEASURED}</p>`;
  const columns: readonly (readonly [string, (look: ReportedLook) => string, (look: ReportedLook) => unknown])[] = [
    ['epochs', ({ epoch }) => figure(epoch), () => 1],
    ['strength', ({ strength = 1 }) => figure(strength), () => 1],
    ['forget', ({ forget }) => figure(forget), ({ forget }) => forget],
    ['retain', ({ retain }) => figure(retain), ({ retain }) => retain],
    ['distance', ({ distance }) => figure(distance), ({ distance }) => distance],
    ['forget quality', ({ forgetQuality }) => figure(forgetQuality), ({ forgetQuality }) => forgetQuality],
    ['utility', ({ utility }) => figure(utility), ({ utility }) => utility],
  ];
  const used = columns.filter(([, , value]) => all.some((look) => value(look) !== undefined));
  const rowsOf = (list: readonly ReportedLook[]) =>
    list.map((look) => {
      const picked = isChosen(look, chosen);
      const name = `${figure(look.look)}${picked ? ' ✓ chosen' : ''}`;
      return { cells: [name, ...used.map(([, cell]) => cell(look))], ...(picked && { kind: 'chosen' }) };
    });
  const heads = ['look', ...used.map(([name]) => name)];
  const some = all.filter((look) => (look.strength ?? 1) === 1 || isChosen(look, chosen));
  const made = table('Looks', heads, rowsOf(some));
  const by =
    target === undefined
      ? ''
      : `<p>Looks were compared with answers that were never learned (${escaped(target.source)}${target.answers === undefined ? '' : `, ${whole(target.answers)} of them`}), which have a mean probability of ${figure(target.probability)}.</p>\n`;
  const settled = settledPart(strength);
  if (some.length === all.length) return `${by}${made}${settled}`;
  return `${by}${made}${settled}
<details><summary>All ${all.length} states, with other strengths of the experts</summary>
${table('States', heads, rowsOf(all))}
</details>`;
}

/** Steps of a thousandth are taken. */
const strengthSaid = (strength: number): string => `${Number(strength.toFixed(3))}`;

/** Of the strength, where more than the look's was tried. */
function settledPart(strength: PruneReport['strength']): string {
  if (strength === undefined || strength.tried.length < 2) return '';
  const tried = strength.tried.map((one) => `${figure(one.forget)} at ${strengthSaid(one.strength)}`).join(', ');
  const why =
    strength.by === 'retain'
      ? 'as at the look: a stronger one would keep too little. Left through the gate:'
      : 'by what is left through the gate:';
  return `\n<p>Experts act with a strength of ${strengthSaid(strength.settled)}, ${why} ${tried}.</p>`;
}

function gatePart({ gate }: PruneReport): string {
  if (gate === undefined) return `<p>${NOT_MEASURED}</p>`;
  const { accuracy, tokens } = gate;
  const of =
    tokens === undefined
      ? ''
      : ` It was looked at on ${whole(tokens.experts)} positions of answers to be forgotten and ${whole(tokens.none)} others.`;
  return `${figures([
    ['right where answers are to be forgotten', percent(accuracy.experts)],
    ['right everywhere else', percent(accuracy.none)],
  ])}
<p>It decides at each position which expert acts, or none.${of}</p>`;
}

/** Audits one behind the other, and what the script knows of their tokens. */
function samplesOf(report: PruneReport): { readonly html: string; readonly data: string } | null {
  const { samples = [] } = report;
  if (samples.length === 0) return null;
  const names = namesOf(report);
  const data: unknown[] = [];
  const titles = { forget: 'Of what was forgotten', retain: 'Of what was kept' } as const;
  const made = samples.map(({ side, audit }) => {
    const { html, data: own } = tokensHtml(audit.texts, data.length, audit.split.q);
    data.push(...own);
    const routings = audit.texts.flatMap(({ tokens }) => tokens.map(({ routing }) => routing));
    const acting = audit.experts ? `<p class="hint">${escaped(expertsStatement(audit.experts, routings))}</p>\n` : '';
    return `<h3 class="side">${titles[side]}</h3>\n${acting}${html}`;
  });
  const html = `<p class="hint">Point at a token, or choose one and go on with the arrow keys, for its entropy, the likeliest tokens in its place, and experts.</p>
${legend(names)}
<div id="texts">
${made.join('\n')}
</div>`;
  return { html, data: tokenData(data, names) };
}

function backPart({ takeBack = [], isolation }: PruneReport): string {
  const [first, last] = [isolation?.moments[0], isolation?.moments.at(-1)];
  const same = first && last && first !== last && first.base === last.base;
  return `<p>The files of the model were not written to: opened without this adapter it is what it was.${same ? ' Its weights in memory had the same digest in the end as in the beginning.' : ''}</p>
<p>With the adapter at weight 0, ${code('--adapter FOLDER:0')}, no expert acts; what B<sub>r</sub> learned stays.</p>${takeBack.map((text) => `\n<p>${escaped(text)}</p>`).join('')}`;
}
