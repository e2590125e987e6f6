import { openTrainingData } from '../datasets/training/data.ts';
import { encodeAll } from '../datasets/training/encode-all.ts';
import { scoringEncoder } from '../datasets/training/scoring-encoder.ts';
import { open } from '../engine/model/open.ts';
import { EspalierError } from '../errors.ts';
import { exportAdapter, exportOptions } from '../prune/adapter/export.ts';
import { meanCoefficients } from '../prune/adapter/mean-coefficients.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument } from './shared/common.ts';
import { answerArguments, dataOptionsOf, sequenceOptionsOf } from './shared/data-flags.ts';
import { formatBytes, formatTable, Progress } from './shared/format.ts';
import { number, written } from './shared/written.ts';

const coefficients = written(exportOptions.coefficients, 'numbers, separated by commas', (text) =>
  text.split(',').map(number),
);

const { data: _, ...data } = answerArguments;

export const exportCommand = defineCommand({
  meta: { name: 'export', description: 'Write an adapter that forgets as folders of PEFT, for other programs' },
  sections: { 'How strong experts act in static/': ['coefficients', 'forget', ...Object.keys(data)] },
  args: {
    model: modelArgument,
    adapter: { type: 'string', value: 'DIR', required: true, description: 'The adapter, which stays as it is' },
    out: {
      type: 'string',
      value: 'FOLDER',
      required: true,
      description: 'The folder to write, which must not exist or be empty',
    },
    coefficients: {
      type: 'string',
      value: 'X,X,…',
      description: 'How strong each expert acts in static/; default: as in the adapter, where it acts',
      rule: coefficients,
    },
    forget: {
      type: 'string',
      value: 'FILE',
      many: true,
      description: 'What was forgotten: each acts as strong as it does there on the mean',
    },
    ...data,
    json: jsonArgument,
  },
  run: async ({ args, io, signal }) => {
    const { adapter, out, model, json, forget } = args;
    if (forget && args.coefficients) {
      throw new EspalierError('E_ARGUMENT', '--coefficients and --forget both say how strong.', 'Give one of them.');
    }
    const measured = async (sources: readonly string[]): Promise<readonly number[]> => {
      const { heldOut: __, onProgress: ___, seed: ____, ...reading } = dataOptionsOf(args);
      const bar = new Progress({ label: 'measuring', total: 1, silent: json });
      const opened = await open(model, { adapters: [adapter], signal });
      try {
        const examples = await openTrainingData(sources, { ...reading, signal });
        try {
          const encoder = scoringEncoder(opened, sequenceOptionsOf(args));
          const { sequences } = await encodeAll(examples, encoder, { signal });
          const onProgress = (share: number, total: number) => bar.update(share / total);
          return await meanCoefficients(opened, sequences, { signal, onProgress });
        } finally {
          await examples.close();
        }
      } finally {
        bar.end();
        await opened.close();
      }
    };
    const found = forget ? await measured(forget) : args.coefficients;
    const done = await exportAdapter(model, {
      ...{ adapter, out, signal },
      ...(found !== undefined && { coefficients: found }),
    });
    if (json) {
      io.out(`${JSON.stringify(done)}\n`);
      return;
    }
    const size = (folder: string): string => {
      const own = done.files.filter(({ name }) => name.startsWith(`${folder}/`));
      return formatBytes(own.reduce((sum, { bytes }) => sum + bytes, 0));
    };
    const rows = [
      [
        'static',
        size('static'),
        `all in one, experts at ${done.coefficients.map((x) => Number(x.toPrecision(4))).join(', ')}: acts alike everywhere`,
      ],
      ['retain', size('retain'), 'what is kept'],
      ...done.experts.map(({ name, folder }) => [folder, size(folder), `the expert ${JSON.stringify(name)}`]),
      ['alter', size('alter'), 'gate and rule, which PEFT has no place for'],
    ];
    io.out(`${out}: folders of PEFT\n${formatTable(null, rows)}\n`);
  },
});
