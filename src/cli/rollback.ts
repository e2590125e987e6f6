import { visibleName } from '../model/text/visible.ts';
import { rollback } from '../prune/adapter/rollback.ts';
import { defineCommand } from './shared/command.ts';
import { jsonArgument, modelArgument } from './shared/common.ts';

export const rollbackCommand = defineCommand({
  meta: { name: 'rollback', description: 'Take a request back that an adapter makes a model forget' },
  args: {
    model: modelArgument,
    adapter: { type: 'string', value: 'DIR', required: true, description: 'The adapter, which stays as it is' },
    request: { type: 'string', value: 'NAME', required: true, description: 'What is taken back' },
    out: {
      type: 'string',
      value: 'FOLDER',
      required: true,
      description: 'The folder to write, which must not exist or be empty',
    },
    json: jsonArgument,
  },
  run: async ({ args, io, signal }) => {
    const { adapter, request, out, model, json } = args;
    const left = await rollback(model, { adapter, request, out, signal });
    if (json) io.out(`${JSON.stringify({ left })}\n`);
    else
      io.out(
        `${out}: the adapter without ${JSON.stringify(request)}; it still has ${left.map(visibleName).join(', ')}\n`,
      );
  },
});
