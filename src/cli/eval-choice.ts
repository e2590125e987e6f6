import { EspalierError } from '../errors.ts';
import {
  type ChoiceMeasures,
  type ChoiceRow,
  type ChoiceScore,
  measureChoice,
  readChoices,
  scoreOf,
} from '../evaluate/unlearning/choice.ts';
import { type ChoiceOptions, choiceOptions } from '../evaluate/unlearning/options.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument, openArguments, openOptionsOf } from './shared/common.ts';
import { unescaped } from './shared/data-flags.ts';
import { optionFlags } from './shared/flags.ts';
import { formatTable } from './shared/format.ts';
import { LogFile } from './shared/log-file.ts';
import { figure, MeasureBar, withModel } from './shared/measuring.ts';

const flags = optionFlags<ChoiceOptions>(choiceOptions, {
  subject: { value: 'TEXT', description: 'What the questions are about, of rows without a subject' },
  description: { value: 'TEXT', description: 'Template of what stands before a question with a subject' },
  signal: null,
  onProgress: null,
});

const ARGUMENTS = {
  data: {
    type: 'string',
    value: 'FILE',
    many: true,
    required: true,
    description: 'Questions as JSON: question, choices, answer, subject',
  },
  log: { type: 'string', value: 'FILE', description: 'Write what was chosen for every question, as JSON' },
} as const;

export const evalChoiceCommand = defineCommand({
  meta: { name: 'choice', description: 'Accuracy on questions with several answers, such as WMDP and MMLU' },
  sections: { Measures: [...Object.keys(ARGUMENTS), ...Object.keys(flags.args)] },
  args: { model: modelArgument, ...ARGUMENTS, ...flags.args, ...openArguments, json: jsonArgument },
  run: async ({ args, io, signal }) => {
    const opening = { ...openOptionsOf(args), signal };
    const { description, ...given } = flags.options(args);
    const sets = new Map<string, readonly ChoiceRow[]>();
    for (const path of args.data) {
      const name = path.replace(/^.*[/\\]/, '').replace(/\.jsonl?$/, '');
      if (sets.has(name)) throw new EspalierError('E_ARGUMENT', `Two files are called ${name}.`, 'Rename one.');
      sets.set(name, await readChoices(path));
    }
    const file = args.log === undefined ? null : await LogFile.open(args.log);
    const total = [...sets.values()].reduce((sum, rows) => sum + rows.length, 0);
    const bar = new MeasureBar(total, args.json);
    const options = {
      ...given,
      ...(description !== undefined && { description: unescaped(description) }),
      signal,
      onProgress: bar.update,
    };
    try {
      const measured: Record<string, ChoiceMeasures> = {};
      const name = await withModel(args.model, opening, { json: args.json, io, bar }, async (model) => {
        for (const [set, rows] of sets) measured[set] = await measureChoice(model, rows, options, set);
        return model.name;
      });
      bar.end();
      const all = scoreOf(Object.values(measured).flatMap(({ items }) => items));
      const about = { model: name, adapters: args.adapter ?? [] };
      await file?.write(`${JSON.stringify({ ...all, sets: measured, ...about })}\n`);
      if (args.json) {
        const brief = Object.entries(measured).map(([set, { items: _, ...rest }]) => [set, rest]);
        io.out(`${JSON.stringify({ ...all, sets: Object.fromEntries(brief), ...about })}\n`);
      } else io.out(`${described(measured, all)}\n`);
    } finally {
      bar.end();
      await file?.close();
    }
  },
});

function described(sets: Readonly<Record<string, ChoiceMeasures>>, all: ChoiceScore): string {
  const row = (name: string, { n, accuracy, standardError, chance }: ChoiceScore) => [
    name,
    n,
    `${figure(accuracy)} ± ${figure(standardError)}`,
    figure(chance),
  ];
  const rows = Object.entries(sets).flatMap(([name, one]) => [
    row(name, one),
    ...Object.entries(one.subjects).map(([subject, score]) => row(`  ${subject}`, score)),
  ]);
  if (Object.keys(sets).length > 1) rows.push(row('all', all));
  return formatTable(['questions', 'n', 'accuracy', 'chance'], rows);
}
