import { EspalierError } from '../errors.ts';
import { leakOf, type MuseMeasures, measureMuse, measurePrivacy } from '../evaluate/unlearning/muse.ts';
import { type MuseData, readMuseFolder } from '../evaluate/unlearning/muse-folder.ts';
import { readMuseAuc } from '../evaluate/unlearning/muse-log.ts';
import { type MuseOptions, museOptions } from '../evaluate/unlearning/options.ts';
import { filled } from '../options/check.ts';
import { defined } from '../options/defined.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument, openArguments, openOptionsOf } from './shared/common.ts';
import { optionFlags } from './shared/flags.ts';
import { formatTable } from './shared/format.ts';
import { LogFile } from './shared/log-file.ts';
import { askingFlags, checkModel, figure, isLog, MeasureBar, withModel, withTemplates } from './shared/measuring.ts';

const flags = optionFlags<MuseOptions>(museOptions, {
  ...askingFlags,
  shots: { value: 'N', description: 'Examples before each question of KnowMem; default: all that the data have' },
  share: { value: 'SHARE', description: 'Tokens of a text that Min-K looks at' },
});

const ARGUMENTS = {
  data: {
    type: 'string',
    value: 'DIR',
    required: true,
    description: 'The folder of the data: forget_qa.json, verbmem.json, privleak_forget.json and others',
  },
  corpus: { type: 'string', value: 'NAME', description: 'Where the folder has several: news, books' },
  reference: {
    type: 'string',
    value: 'MODEL',
    description: 'A model that never saw the texts, or the .json file that a run on it wrote: for PrivLeak',
  },
  log: { type: 'string', value: 'FILE', description: 'Write all figures, and what was written, as JSON' },
} as const;

export const evalMuseCommand = defineCommand({
  meta: { name: 'muse', description: 'Measure unlearning on MUSE: VerbMem, KnowMem, PrivLeak' },
  sections: { Measures: [...Object.keys(ARGUMENTS), ...Object.keys(flags.args)] },
  args: { model: modelArgument, ...ARGUMENTS, ...flags.args, ...openArguments, json: jsonArgument },
  run: async ({ args, io, signal }) => {
    const opening = { ...openOptionsOf(args), signal };
    const given = withTemplates(flags.options(args));
    const { reference } = args;
    const data = await readMuseFolder(args.data, defined({ corpus: args.corpus }));
    const { privacy } = data;
    if (reference !== undefined && privacy === null) {
      const hint = 'Leave the reference out: it is for privleak_forget.json and privleak_holdout.json.';
      throw new EspalierError('E_ARGUMENT', `${args.data} has no texts of PrivLeak.`, hint);
    }
    const logged =
      reference !== undefined && isLog(reference)
        ? await readMuseAuc(reference, privacy!, filled(museOptions, given).share)
        : null;
    const again = reference !== undefined && logged === null;
    if (again) await checkModel(reference, signal, '--reference');
    const file = args.log === undefined ? null : await LogFile.open(args.log);
    const bar = new MeasureBar(rowsOf(data) + (again ? textsOf(data) : 0), args.json);
    const how = { json: args.json, io, bar };
    const options = { ...given, signal, onProgress: bar.update };
    try {
      const [name, measured] = await withModel(args.model, opening, how, async (model) => {
        return [model.name, await measureMuse(model, data, options)] as const;
      });
      const area = again
        ? await withModel(reference, { ...opening, adapters: [] }, how, async (model) => {
            return (await measurePrivacy(model, privacy, options)).auc;
          })
        : logged;
      bar.end();
      const { items, ...figures } = { ...measured, ...leakOf(measured.auc, area) };
      const about = { model: name, adapters: args.adapter ?? [], reference: reference ?? null };
      await file?.write(`${JSON.stringify({ ...figures, ...about, items })}\n`);
      io.out(args.json ? `${JSON.stringify({ ...figures, ...about })}\n` : `${described(figures)}\n`);
    } finally {
      bar.end();
      await file?.close();
    }
  },
});

const textsOf = ({ privacy }: MuseData): number =>
  privacy === null ? 0 : privacy.forget.length + privacy.holdout.length;

function rowsOf(data: MuseData): number {
  const { verbMem, forget, retain } = data;
  return (verbMem?.length ?? 0) + (forget?.rows.length ?? 0) + (retain?.rows.length ?? 0) + textsOf(data);
}

function described({ verbMem, knowMem, auc, privLeak, counts }: Omit<MuseMeasures, 'items'>): string {
  const rows = [
    ['VerbMem', counts.verbMem, figure(verbMem), 'ROUGE-L F1 of continuations'],
    ['KnowMem, forget', counts.forget, figure(knowMem.forget), 'ROUGE-L F1 of answers'],
    ['KnowMem, retain', counts.retain, figure(knowMem.retain), 'ROUGE-L F1 of answers'],
    ['PrivLeak', counts.privacy, privLeak === null ? '–' : privLeak.toFixed(3), `AUC ${figure(auc)}`],
  ];
  return formatTable(['measure', 'n', 'figure', ''], rows);
}
