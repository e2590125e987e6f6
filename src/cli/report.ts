import { EspalierError } from '../errors.ts';
import { defineCommand } from './shared/command.ts';
import { modelArgument } from './shared/common.ts';
import { answerArguments, dataOptionsOf, sequenceOptionsOf } from './shared/data-flags.ts';
import { LogFile } from './shared/log-file.ts';
import { measuresOfFiles } from './shared/measure-files.ts';
import { pageOf, readPruneReceipt } from './shared/prune-report.ts';
import { pruneSamples } from './shared/prune-samples.ts';

const { data: _, ...data } = answerArguments;
const files = (description: string) => ({ type: 'string', value: 'FILE', many: true, description }) as const;
const WROTE = 'what eval tofu, muse or choice wrote';

export const reportCommand = defineCommand({
  meta: { name: 'report', description: 'Write the page of a pruning, with measures of it' },
  sections: {
    Measures: ['before', 'after', 'aim'],
    Samples: ['forget', 'retain', ...Object.keys(data)],
  },
  args: {
    model: modelArgument,
    adapter: { type: 'string', value: 'DIR', required: true, description: 'The folder that prune wrote' },
    html: { type: 'string', value: 'FILE', required: true, description: 'The page to write' },
    before: files(`Of the model without the adapter: ${WROTE}, by --log or --json`),
    after: files('The same of the model with the adapter'),
    aim: files('The same of a model that never learned it: what both should come to'),
    forget: files('Show examples of what was forgotten, from here'),
    retain: files('Show examples of what was kept'),
    ...data,
  },
  run: async ({ args, io, signal }) => {
    const { adapter, html, forget, retain, before = [], after = [], aim = [] } = args;
    if ((forget === undefined) !== (retain === undefined)) {
      throw new EspalierError('E_ARGUMENT', 'Samples are of both sides.', 'Give --forget and --retain, or neither.');
    }
    const receipt = await readPruneReceipt(adapter);
    const measures = await measuresOfFiles({ before, after, aim });
    const { heldOut: __, onProgress: ___, signal: ____, seed: _____, ...reading } = dataOptionsOf(args);
    const page = await LogFile.open(html);
    try {
      const options = { ...reading, ...sequenceOptionsOf(args), forget, retain, q: receipt.options.q };
      const samples =
        forget && retain ? await pruneSamples(args.model, adapter, { ...options, forget, retain }, signal) : undefined;
      await page.write(pageOf(receipt, samples, measures));
    } finally {
      await page.close();
    }
    io.out(`The report is in ${html}.\n`);
  },
});
