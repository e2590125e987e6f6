import { EspalierError } from '../errors.ts';
import type { KsTest } from '../evaluate/unlearning/ks-test.ts';
import { type TofuOptions, tofuOptions } from '../evaluate/unlearning/options.ts';
import { formOf, measureTofu, type TofuMeasures, tofuUtility } from '../evaluate/unlearning/tofu.ts';
import { readTofuFolder } from '../evaluate/unlearning/tofu-folder.ts';
import { checkTofuReference, readTofuLog, type TofuLog, tofuForgetQuality } from '../evaluate/unlearning/tofu-log.ts';
import { type Fluency, measureFluency } from '../evaluate/unlearning/written-fluency.ts';
import { defined } from '../options/defined.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument, openArguments, openOptionsOf } from './shared/common.ts';
import { optionFlags } from './shared/flags.ts';
import { formatTable, noteLine } from './shared/format.ts';
import { LogFile } from './shared/log-file.ts';
import { askingFlags, checkModel, figure, isLog, MeasureBar, withModel, withTemplates } from './shared/measuring.ts';

const flags = optionFlags<TofuOptions>(tofuOptions, {
  ...askingFlags,
  rouge: {
    description: 'The model writes answers (the default)',
    negative: 'No answers are written: no ROUGE-L, and no utility',
  },
  maxTokens: { value: 'N', description: 'Most tokens of a written answer' },
});

const ARGUMENTS = {
  data: {
    type: 'string',
    value: 'DIR',
    required: true,
    description: 'The folder of the data: forget10_perturbed.json and others',
  },
  split: { type: 'string', value: 'NAME', description: 'What was to be forgotten: forget01, forget05 or forget10' },
  set: {
    type: 'string',
    value: 'NAME',
    many: true,
    description: 'A file to measure, without .json; default: that of --split and the three of utility',
  },
  reference: {
    type: 'string',
    value: 'MODEL',
    description: 'A model that never saw the split, or the .json file that a run on it wrote: for forget quality',
  },
  base: {
    type: 'string',
    value: 'MODEL',
    description: 'The model that MODEL was made of: how fluent the answers are, by their perplexity under it',
  },
  log: { type: 'string', value: 'FILE', description: 'Write the figures of every question, and the answers, as JSON' },
} as const;

export const evalTofuCommand = defineCommand({
  meta: {
    name: 'tofu',
    description: 'Measure unlearning on TOFU: forget quality, model utility, what they are made of',
  },
  sections: { Measures: [...Object.keys(ARGUMENTS), ...Object.keys(flags.args)] },
  args: { model: modelArgument, ...ARGUMENTS, ...flags.args, ...openArguments, json: jsonArgument },
  run: async ({ args, io, signal }) => {
    const opening = { ...openOptionsOf(args), signal };
    const given = withTemplates(flags.options(args));
    const { split, reference, base } = args;
    if (base !== undefined && given.rouge === false) {
      throw new EspalierError('E_ARGUMENT', 'There is a base, and no answers are written.', 'Leave --no-rouge out.');
    }
    if (reference !== undefined && split === undefined) {
      throw new EspalierError('E_ARGUMENT', 'There is a reference, and no split.', 'Give `split: forget10`.');
    }
    // what is wrong with the files is said before anything is computed
    const compared = reference !== undefined;
    const choice = { ...defined({ split, sets: args.set }), compared };
    const { sets, forgotten, notes } = await readTofuFolder(args.data, choice);
    const log = compared && isLog(reference) ? await readTofuLog(reference) : null;
    if (log !== null) checkTofuReference(forgotten!, formOf(given), log.sets[forgotten!.name], log.name);
    if (reference !== undefined && log === null) await checkModel(reference, signal, '--reference');
    if (base !== undefined) await checkModel(base, signal, '--base');
    const file = args.log === undefined ? null : await LogFile.open(args.log);
    const rows = sets.reduce((sum, set) => sum + set.rows.length * (given.rouge === false ? 1 : 2), 0);
    const scored = base === undefined ? 0 : rows / 2;
    const bar = new MeasureBar(rows + scored + (compared && log === null ? forgotten!.rows.length : 0), args.json);
    const how = { json: args.json, io, bar };
    const options = { ...given, signal, onProgress: bar.update };
    try {
      const measured: Record<string, TofuMeasures> = {};
      const name = await withModel(args.model, opening, how, async (model) => {
        for (const set of sets) measured[set.name] = await measureTofu(model, set, options);
        return model.name;
      });
      const fluency: Record<string, Fluency> = {};
      if (base !== undefined) {
        await withModel(base, { ...opening, adapters: [] }, how, async (model) => {
          const form = defined({ prompt: given.prompt, chat: given.chat });
          for (const [set, { items }] of Object.entries(measured)) {
            const answers = items.map(({ question, written }) => ({ question, written: written! }));
            fluency[set] = await measureFluency(model, answers, { ...form, signal, onProgress: bar.update });
          }
        });
      }
      let quality: KsTest | null = null;
      if (compared && forgotten !== null) {
        const other: TofuLog =
          log ??
          (await withModel(reference, { ...opening, adapters: [] }, how, async (model) => {
            const own = await measureTofu(model, forgotten, { ...options, rouge: false });
            return { name: reference, model: model.name, sets: { [forgotten.name]: own } };
          }));
        quality = tofuForgetQuality(forgotten, measured[forgotten.name]!, other.sets[forgotten.name], other.name);
      }
      bar.end();
      const withFluency = Object.entries(measured).map(([set, own]) => {
        return [set, { ...own, ...defined({ fluency: fluency[set] }) }] as const;
      });
      const found: Found = {
        forgetQuality: quality,
        modelUtility: tofuUtility(measured),
        sets: Object.fromEntries(withFluency),
      };
      const about = { model: name, adapters: args.adapter ?? [], split: split ?? null, reference: reference ?? null };
      await file?.write(`${JSON.stringify({ ...found, ...about, notes })}\n`);
      if (args.json) {
        const brief = Object.entries(found.sets).map(([set, { items: _, ...rest }]) => [set, rest]);
        io.out(`${JSON.stringify({ ...found, sets: Object.fromEntries(brief), ...about, notes })}\n`);
        return;
      }
      for (const note of notes) io.err(noteLine(note));
      io.out(`${described(found)}\n`);
    } finally {
      bar.end();
      await file?.close();
    }
  },
});

interface Found {
  readonly forgetQuality: KsTest | null;
  readonly modelUtility: number | null;
  readonly sets: Readonly<Record<string, TofuMeasures & { readonly fluency?: Fluency }>>;
}

function described({ forgetQuality, modelUtility, sets }: Found): string {
  const rows = Object.entries(sets).map(([name, one]) => [
    name,
    one.n,
    figure(one.probability),
    figure(one.rougeL),
    figure(one.truthRatioScore),
    figure(one.exactMemorisation),
    figure(one.extractionStrength),
  ]);
  const head = ['set', 'n', 'probability', 'ROUGE-L', 'truth ratio', 'memorised', 'extractable'];
  const lines = [formatTable(head, rows)];
  const written = Object.entries(sets).flatMap(([name, { fluency }]) => (fluency ? [[name, fluency] as const] : []));
  if (written.length > 0) {
    const shares = written.map(([name, { perplexity, distinct2, distinct3, repetition }]) => {
      return [name, perplexity?.toFixed(2) ?? '–', figure(distinct2), figure(distinct3), figure(repetition)];
    });
    lines.push(formatTable(['answers', 'perplexity', 'distinct-2', 'distinct-3', 'repetition'], shares));
  }
  if (modelUtility !== null) lines.push(`model utility ${figure(modelUtility)}`);
  if (forgetQuality !== null) {
    const { p, D, log10p } = forgetQuality;
    lines.push(`forget quality p = ${p.toPrecision(8)} (log10 ${log10p.toFixed(4)}, D = ${D})`);
  }
  return lines.join('\n');
}
