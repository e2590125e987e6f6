import { compareScores, scoreInterval } from '../../evaluate/scores/compare.ts';
import {
  type Metric,
  type Score,
  segmentsOf,
  signatureOf,
  statisticsOf,
  summed,
} from '../../evaluate/scores/corpus.ts';
import { type CompareOptions, compareOptions } from '../../evaluate/scores/options.ts';
import { defined } from '../../options/defined.ts';
import type { Values } from './command.ts';
import { jsonArgument } from './common.ts';
import { optionFlags } from './flags.ts';
import { formatTable } from './format.ts';
import type { Io } from './io.ts';
import { readLines } from './lines.ts';

const comparing = optionFlags<CompareOptions>(compareOptions, {
  test: { value: 'NAME', description: 'Of --paired: bootstrap, or randomisation' },
  samples: { value: 'N', description: 'Resamples; default 1000, of the randomisation 10000' },
  seed: { value: 'N', description: 'Seed of the resamples' },
  signal: null,
});

/** Arguments of commands that score texts against references. */
export const scoreArguments = {
  hypotheses: { type: 'positional', description: 'A file with a text a line; - reads standard input', required: true },
  ref: {
    type: 'string',
    value: 'FILE',
    many: true,
    required: true,
    description: 'References of the texts, a line for each; another file has another reference of each',
  },
  sentences: { type: 'boolean', default: false, description: 'Print the score of each line, too' },
  confidence: { type: 'boolean', default: false, description: 'With an interval of 95 % by bootstrap resampling' },
  paired: { type: 'string', value: 'FILE', description: 'Another system: is it better than the first?' },
  ...comparing.args,
  json: jsonArgument,
} as const;

interface Parts {
  readonly args: Readonly<Record<string, unknown>> & Values<typeof scoreArguments>;
  readonly io: Io;
  readonly signal: AbortSignal;
}

/**
 * Scores a file, and prints it.
 * @param sentence the same of single texts
 * @param told what stands behind the figure
 */
export async function reportScore<S extends Score>(
  metric: Metric<S>,
  sentence: Metric<Score>,
  told: (score: S) => string,
  { args, io, signal }: Parts,
): Promise<void> {
  const hypotheses = await readLines(args.hypotheses, io, signal);
  const references = await Promise.all(args.ref.map((path) => readLines(path, io, signal)));
  const options = { ...comparing.options(args), signal };
  const segments = segmentsOf(hypotheses, references);
  const score = metric.score(summed(statisticsOf(metric, segments)));
  const signature = signatureOf(metric, segments);
  const sentences = args.sentences
    ? segments.map((one) => sentence.score(sentence.statistics(one.hypothesis, one.references)).score)
    : undefined;
  const { samples, seed } = options;
  const interval = args.confidence
    ? await scoreInterval(metric, hypotheses, references, { ...defined({ samples, seed }), signal })
    : undefined;
  const paired =
    args.paired === undefined
      ? undefined
      : await compareScores(metric, hypotheses, await readLines(args.paired, io, signal), references, options);
  if (args.json) {
    const { mean, halfWidth } = interval ?? {};
    const spread = interval && { mean, halfWidth, signature: interval.signature };
    io.out(`${JSON.stringify({ ...score, signature, ...defined({ interval: spread, paired, sentences }) })}\n`);
    return;
  }
  for (const [i, one] of (sentences ?? []).entries()) io.out(`${i + 1}\t${one.toFixed(2)}\n`);
  io.out(`${metric.name} = ${score.score.toFixed(2)}${told(score)}\n${signature}\n`);
  if (interval)
    io.out(`mean ${interval.mean.toFixed(2)} ± ${interval.halfWidth.toFixed(2)} (95 %)\n${interval.signature}\n`);
  if (paired) {
    const rows = [paired.baseline, paired.system].map((one, i) => [
      i === 0 ? args.hypotheses : args.paired!,
      one.score.toFixed(2),
      `${one.mean.toFixed(2)} ± ${one.halfWidth.toFixed(2)}`,
      i === 0 ? '' : paired.difference.toFixed(2),
      i === 0 ? '' : paired.p.toFixed(4),
    ]);
    io.out(`${formatTable(['system', metric.name, '95 %', 'difference', 'p'], rows)}\n${paired.signature}\n`);
  }
}
