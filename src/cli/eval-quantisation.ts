import type { TrainingData } from '../datasets/training/data.ts';
import { EspalierError } from '../errors.ts';
import { measureQuantisation, type QuantisationMeasures } from '../evaluate/robustness/quantisation.ts';
import { defined } from '../options/defined.ts';
import { defineCommand, type Values } from './shared/command.ts';
import { jsonArgument, modelArgument, openArguments, openOptionsOf, openWithProgress } from './shared/common.ts';
import {
  answerArguments,
  DATA_FLAGS,
  dataOptionsOf,
  openDataWithProgress,
  sequenceOptionsOf,
} from './shared/data-flags.ts';
import { formatTable } from './shared/format.ts';
import { checkModel, figure, MeasureBar } from './shared/measuring.ts';

// how weights are rounded is what is measured
const { quantise: ____, ...opening } = openArguments as typeof openArguments & Readonly<Record<'quantise', object>>;

const args = {
  model: modelArgument,
  ...answerArguments,
  retain: {
    type: 'string',
    value: 'FILE',
    many: true,
    description: 'What was to be kept, in the same form',
  },
  original: {
    type: 'string',
    value: 'MODEL',
    description: 'The model that knew; default: the same without adapters, where there are some',
  },
  ...opening,
  json: jsonArgument,
} as const;

export const evalQuantisationCommand = defineCommand({
  meta: { name: 'quantisation', description: 'Whether what was forgotten is back when weights are rounded' },
  sections: { Data: [...DATA_FLAGS.filter((flag) => flag !== 'loss'), 'retain', 'original'] },
  args,
  run: async ({ args: said, io, signal }) => {
    const given = said as Values<typeof args> & Readonly<Record<string, unknown>>;
    const { json, model, retain: kept, adapter } = given;
    const options = { ...openOptionsOf(given), signal };
    const { heldOut: _, seed: __, ...read } = dataOptionsOf(given);
    const original = given.original ?? (adapter === undefined ? undefined : model);
    if (original === model && adapter === undefined) {
      throw new EspalierError('E_ARGUMENT', 'The original is the model itself.', 'Give the model that it was made of.');
    }
    await checkModel(model, signal, 'MODEL');
    if (original !== undefined) await checkModel(original, signal, '--original');
    const forget = await openDataWithProgress(given.data, { ...read, signal }, json);
    let retain: TrainingData | undefined;
    let bar: MeasureBar | null = null;
    try {
      retain = kept && (await openDataWithProgress(kept, { ...read, signal }, json));
      bar = new MeasureBar((forget.count + (retain?.count ?? 0)) * (original === undefined ? 3 : 4), json);
      const measuring = bar;
      const opened = async (target: string, more: Partial<typeof options>) => {
        measuring.clear();
        return openWithProgress(target, { ...options, ...more }, json, io);
      };
      const found = await measureQuantisation(
        {
          open: (quantise) => opened(model, quantise === null ? {} : { quantise }),
          ...(original !== undefined && { original: () => opened(original, { adapters: [] }) }),
        },
        { forget, retain },
        { ...withoutLoss(sequenceOptionsOf(given)), signal, onProgress: bar.update },
      );
      bar.end();
      const about = { model, adapters: adapter ?? [], original: original ?? null, precision: options.precision };
      io.out(json ? `${JSON.stringify({ ...found, ...about })}\n` : `${described(found)}\n`);
    } finally {
      bar?.end();
      await retain?.close();
      await forget.close();
    }
  },
});

function withoutLoss({ loss: _, ...options }: ReturnType<typeof sequenceOptionsOf>) {
  return options;
}

function described({ forget, retain, rounded, recovered }: QuantisationMeasures): string {
  const sets = Object.entries(defined({ forget, retain: retain ?? undefined }));
  const rows = sets.map(([name, { n, original, stored, q8_0, q4_0 }]) => {
    return [name, n, ...[original, stored, q8_0, q4_0].map(figure)];
  });
  const layers = (type: keyof typeof rounded) => `${rounded[type].rounded} of ${rounded[type].linear}`;
  rows.push(['layers rounded', '', '', '', layers('q8_0'), layers('q4_0')]);
  if (recovered) rows.push(['recovered', '', '', '', figure(recovered.q8_0), figure(recovered.q4_0)]);
  return formatTable(['answers', 'n', 'original', 'stored', 'q8_0', 'q4_0'], rows);
}
