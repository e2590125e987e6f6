import { exportAdapter, exportOptions } from '../prune/adapter/export.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument } from './shared/common.ts';
import { formatBytes, formatTable } from './shared/format.ts';
import { number, written } from './shared/written.ts';

const coefficients = written(exportOptions.coefficients, 'numbers, separated by commas', (text) =>
  text.split(',').map(number),
);

export const exportCommand = defineCommand({
  meta: { name: 'export', description: 'Write an adapter that forgets as folders of PEFT, for other programs' },
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
    json: jsonArgument,
  },
  run: async ({ args, io, signal }) => {
    const { adapter, out, model, json } = args;
    const done = await exportAdapter(model, {
      ...{ adapter, out, signal },
      ...(args.coefficients !== undefined && { coefficients: args.coefficients }),
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
      ['static', size('static'), `all in one, experts at ${done.coefficients.join(', ')}: acts alike everywhere`],
      ['retain', size('retain'), 'what is kept'],
      ...done.experts.map(({ name, folder }) => [folder, size(folder), `the expert ${JSON.stringify(name)}`]),
      ['alter', size('alter'), 'gate and rule, which PEFT has no place for'],
    ];
    io.out(`${out}: folders of PEFT\n${formatTable(null, rows)}\n`);
  },
});
