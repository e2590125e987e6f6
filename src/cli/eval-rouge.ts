import { type RougeMetricOptions, rougeMetricOptions } from '../evaluate/scores/options.ts';
import { rougeMetric } from '../evaluate/scores/rouge.ts';
import { defineCommand } from './shared/command.ts';
import { optionFlags } from './shared/flags.ts';
import { reportScore, scoreArguments } from './shared/score-report.ts';

const flags = optionFlags<RougeMetricOptions>(rougeMetricOptions, {
  kind: { value: 'KIND', description: '1 (words), 2 (pairs of words) or L (the longest common subsequence)' },
  share: { value: 'NAME', description: 'precision, recall or f1' },
  stemmer: { description: 'Words are stemmed, as of rouge_score’s use_stemmer' },
});

export const evalRougeCommand = defineCommand({
  meta: { name: 'rouge', description: 'Score texts by ROUGE-1, -2 or -L, equal to rouge_score’s, in percent' },
  args: { ...scoreArguments, ...flags.args },
  run: async (context) => {
    const metric = rougeMetric(flags.options(context.args));
    await reportScore(metric, metric, () => '', context);
  },
});
