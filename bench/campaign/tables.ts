/** What the results come to, as tables in Markdown. */
import { bestLook, KEPT } from './choice.ts';
import { type Figures, type Found, foundOf, type Relearning, type Results } from './results.ts';
import { idOf, OURS, type Ours, RIVALS, type RivalName, type Run, SPLITS, type Split, sweepOf } from './runs.ts';

export const ABOUT: Readonly<Record<Ours | RivalName, string>> = {
  alter: 'ours',
  'alter-hinge': 'ours, the paper’s hinge',
  asymmetric: 'asymmetric LoRA, no entropy',
  npo: 'NPO',
  simnpo: 'SimNPO',
  hinge: 'LoRA, hinge',
  'grad-diff': 'GradDiff',
  'idk-dpo': 'IdkDPO',
  undial: 'UNDIAL',
  rmu: 'RMU',
  'grad-ascent': 'GradAscent',
};
export const METHODS: readonly (Ours | RivalName)[] = [
  ...(Object.keys(OURS) as Ours[]),
  ...(Object.keys(RIVALS) as RivalName[]),
];

/** A row for people: cells are padded, so that lines stand below each other. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  return [line(head), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...rows.map(line)].join('\n');
}

/** A probability or a share: .0085, 1.2e-20. */
export function figure(value: number | null): string {
  if (value === null) return '–';
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1);
  return value.toFixed(Math.abs(value) < 0.1 ? 4 : 3).replace(/^(-?)0\./, '$1.');
}

/** p, also below what a double holds. */
function quality(log10: number): string {
  if (log10 > -4) return figure(10 ** log10);
  const power = Math.floor(log10);
  return `${(10 ** (log10 - power)).toFixed(1)}e${power}`;
}

const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;
const steps = ({ most }: Relearning, own: number | null): string => (own === null ? `over ${most}` : String(own));

/** Least, median and most; one value alone, and none as –. */
function range(values: readonly number[], said: (value: number) => string): string {
  const sorted = values.slice().sort((a, b) => a - b);
  if (sorted.length === 0) return '–';
  if (sorted.length === 1) return said(sorted[0]!);
  const [half, odd] = [Math.floor(sorted.length / 2), sorted.length % 2 === 1];
  const median = odd ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
  return [sorted[0]!, median, sorted.at(-1)!].map(said).join(' / ');
}

type Unlearned = { readonly run: Extract<Run, { kind: 'unlearn' }>; readonly found: Found['unlearn'] };

/** What a method came to on a split, by seed. */
export function unlearnedBy(results: Results, method: Ours | RivalName, split: Split): Unlearned[] {
  const list = [...results.values()].flatMap(({ run, found }): Unlearned[] => {
    const isIts = run.kind === 'unlearn' && run.method === method && run.split === split;
    return isIts && found ? [{ run, found: found as Found['unlearn'] }] : [];
  });
  return list.sort((a, b) => a.run.seed - b.run.seed);
}

function methodTable(results: Results, split: Split): string | null {
  const before = foundOf<'before'>(results, { kind: 'before', split });
  if (before === undefined) return null;
  const { model, reference, control } = before;
  const of = (list: readonly Unlearned[], get: (figures: Figures) => number | null, said: (x: number) => string) =>
    range(
      list.flatMap(({ found: { figures } }) => get(figures) ?? []),
      said,
    );
  const backs = (list: readonly Unlearned[], of: 'trained' | 'held') =>
    range(
      list.map(({ found }) => found.relearning[of] ?? Number.POSITIVE_INFINITY),
      (x) => (Number.isFinite(x) ? String(x) : `over ${control.most}`),
    );
  const seconds = (list: readonly Unlearned[]) =>
    range(
      list.map(({ found }) => found.seconds),
      (x) => x.toFixed(0),
    );
  const all = METHODS.map((method) => ({ name: ABOUT[method], list: unlearnedBy(results, method, split) })).filter(
    ({ list }) => list.length > 0,
  );
  const quals = (name: string, of: Figures) => [
    ...[name, '', '', quality(of.log10), percent(1 - of.forget / model.forget), percent(of.retain / model.retain)],
    ...[percent(of.plainUtility! / model.plainUtility!), figure(of.truthRatio)],
  ];
  const qualities = [
    quals('before', model),
    quals('reference', reference),
    ...all.map(({ name, list }) => [
      name,
      [...new Set(list.map(({ found }) => found.rate ?? ''))].join(', '),
      String(list.length),
      of(list, ({ log10 }) => log10, quality),
      of(list, ({ forget }) => 1 - forget / model.forget, percent),
      of(list, ({ retain }) => retain / model.retain, percent),
      of(list, ({ plainUtility }) => plainUtility && plainUtility / model.plainUtility!, percent),
      of(list, ({ truthRatio }) => truthRatio, figure),
    ]),
  ];
  const texts = (name: string, figures: Figures, back: string) => [
    ...[name, figure(figures.rouge.forget), figure(figures.rouge.retain), figures.perplexity?.toPrecision(3) ?? '–'],
    ...[figure(figures.repetition), back, '', ''],
  ];
  const others = [
    texts('before', model, ''),
    texts('reference', reference, `${steps(control, control.trained)}; ${steps(control, control.held)}`),
    ...all.map(({ name, list }) => [
      name,
      of(list, ({ rouge }) => rouge.forget, figure),
      of(list, ({ rouge }) => rouge.retain, figure),
      of(
        list,
        ({ perplexity }) => perplexity,
        (x) => x.toPrecision(3),
      ),
      of(list, ({ repetition }) => repetition, figure),
      `${backs(list, 'trained')}; ${backs(list, 'held')}`,
      list[0]!.found.trained.toLocaleString('en'),
      seconds(list),
    ]),
  ];
  const first = ['method', 'rate', 'seeds', 'forget quality p', 'gone', 'retain kept', 'utility kept', 'truth ratio'];
  const second = ['method', 'ROUGE-L: forgotten', 'kept', 'perplexity', 'repeated', 'relearnt: trained on; held'];
  return `### ${split}\n\n${markdown(first, qualities)}\n\n${markdown([...second, 'trained', 'seconds'], others)}`;
}

function seedTable(results: Results, split: Split): string | null {
  const list = unlearnedBy(results, 'alter', split);
  if (list.length === 0) return null;
  const before = foundOf<'before'>(results, { kind: 'before', split })!.model;
  const rows = list.map(({ run, found: { figures: own, left, relearning } }) => [
    String(run.seed),
    `${left.epoch.toFixed(2)}, ${left.strength}`,
    `${figure(own.forget)} of ${figure(before.forget)}`,
    percent(1 - own.forget / before.forget),
    `${own.retain.toFixed(4)}, ${before.retain.toFixed(4)}`,
    `${own.D.toFixed(4)}, ${quality(own.log10)}`,
    figure(own.truthRatio),
    `${figure(own.utility)}, ${figure(own.plainUtility)}`,
    `${figure(own.rouge.forget)}, ${figure(own.rouge.retain)}`,
    `${steps(relearning, relearning.trained)}, ${steps(relearning, relearning.held)}`,
  ]);
  const head = ['seed', 'epoch, strength', 'left', 'gone', 'kept, and before', 'D, p', 'truth ratio'];
  const more = ['utility, without ROUGE-L', 'ROUGE-L: forgotten, kept', 'relearnt: trained, held'];
  return `### ${split}, ours by seed\n\n${markdown([...head, ...more], rows)}`;
}

function sweepTable(results: Results): string | null {
  const rows = (Object.keys(RIVALS) as RivalName[]).flatMap((method) =>
    sweepOf(method).flatMap((run) => {
      const own = run as Extract<Run, { kind: 'sweep' }>;
      const found = foundOf<'sweep'>(results, own);
      if (!found) return results.has(idOf(run)) ? [[ABOUT[method], String(own.rate), 'failed', '', '', '']] : [];
      const { epoch, log10, forget, retain } = bestLook(found.looks, found.before)!;
      const kept = `${percent(retain / found.before)}${retain < KEPT * found.before ? ', too little' : ''}`;
      return [[ABOUT[method], String(own.rate), epoch.toFixed(1), quality(log10), figure(forget), kept]];
    }),
  );
  if (rows.length === 0) return null;
  return `### Rates of rivals\n\n${markdown(['method', 'rate', 'best epoch', 'p', 'left', 'retain kept'], rows)}`;
}

/** How far the choice of ours is from the best that it could have left. */
function looksTable(results: Results): string | null {
  const rows = [...results.values()].flatMap(({ run, found }) => {
    if (run.kind !== 'looks' || !found) return [];
    const { candidates, chosen } = found as Found['looks'];
    const before = foundOf<'before'>(results, { kind: 'before', split: run.split })!.model.retain;
    const best = bestLook(candidates, before)!;
    const own = candidates.find(({ look, strength }) => look === chosen.look && strength === chosen.strength)!;
    const said = ({ epoch, strength, log10, forget }: typeof own) =>
      `${epoch.toFixed(2)}, ${strength}: ${quality(log10)}, ${figure(forget)} left`;
    const name = `${ABOUT[run.method]}, ${run.split}, ${run.seed}`;
    return [[name, String(candidates.length), said(own), said(best), (best.log10 - own.log10).toFixed(2)]];
  });
  if (rows.length === 0) return null;
  const head = ['method, split, seed', 'candidates', 'chosen', 'best', 'log10 p lost'];
  return `### The choice, and the best it could have made\n\n${markdown(head, rows)}`;
}

function sequenceTable(results: Results): string | null {
  const parts = [...results.values()].flatMap(({ run, found }) => {
    if (run.kind !== 'sequence' || !found) return [];
    const { states, retain, exact, seconds } = found as Found['sequence'];
    const rows = Object.entries(states).map(([state, own]) => [
      state,
      ...['forget01', 'forget05', 'forget10'].map((part) => {
        const { probability, truthRatio } = own[part]!;
        return `${figure(probability)}, ${figure(truthRatio)}`;
      }),
      figure(retain[state]!),
    ]);
    const head = ['requests', '1 %', 'to 5 %', 'to 10 %', 'retain'];
    const back = `Taken back bit for bit: ${exact.map((is) => (is ? 'yes' : 'NO')).join(', ')}.`;
    const time = `Seconds of each: ${seconds.map((x) => x.toFixed(0)).join(', ')}.`;
    return [
      `Seed ${run.seed}: probability and truth ratio's score of each part.\n\n${markdown(head, rows)}\n\n${back} ${time}`,
    ];
  });
  return parts.length === 0 ? null : `### Requests in sequence\n\n${parts.join('\n\n')}`;
}

function smolTable(results: Results): string | null {
  const rows = [...results.values()].flatMap(({ run, found }) => {
    if (run.kind !== 'smollm2' || !found) return [];
    const { learned, before, after, epoch, parameters, seconds } = found as Found['smollm2'];
    return [
      [
        String(run.seed),
        `${learned.steps} steps, ${learned.seconds.toFixed(0)} s: ${figure(learned.probability)}`,
        `${figure(before.forget)}, ${figure(after.forget)}`,
        `${figure(before.retain)}, ${figure(after.retain)}`,
        ...[epoch.toFixed(2), parameters.toLocaleString('en'), seconds.toFixed(0)],
      ],
    ];
  });
  if (rows.length === 0) return null;
  const head = [
    'seed',
    'learned by heart',
    'forgotten: before, after',
    'kept: before, after',
    'epoch',
    'trained',
    'seconds',
  ];
  return `### SmolLM2, 20 people, two forgotten\n\n${markdown(head, rows)}`;
}

function referenceTable(results: Results): string | null {
  const rows = SPLITS.flatMap((split) => {
    const found = foundOf<'reference'>(results, { kind: 'reference', split });
    if (!found) return [];
    const { rounds, steps, probability, beside } = found;
    const alike = beside ? `D ${figure(beside.D)}, p ${figure(beside.p)}, ${figure(beside.truthRatio)}` : '';
    return [[split, String(rounds), String(steps), figure(probability), alike]];
  });
  if (rows.length === 0) return null;
  const head = [
    'without',
    'rounds',
    'steps',
    'probability of its own answers',
    'beside the given one: D, p, truth ratio',
  ];
  return `### References\n\n${markdown(head, rows)}`;
}

export function tables(results: Results): string {
  const parts = [
    ...SPLITS.flatMap((split) => [methodTable(results, split), seedTable(results, split)]),
    ...[sweepTable(results), looksTable(results), sequenceTable(results), smolTable(results), referenceTable(results)],
  ];
  const failed = [...results.values()].filter(({ error }) => error !== undefined);
  if (failed.length > 0) {
    parts.push(`### Failed\n\n${failed.map(({ id, error }) => `- ${id}: ${error!.split('\n')[0]}`).join('\n')}`);
  }
  return `${parts.filter((part) => part !== null).join('\n\n')}\n`;
}
