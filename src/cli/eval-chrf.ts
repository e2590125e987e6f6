import { chrfMetric } from '../evaluate/scores/chrf.ts';
import { type ChrfOptions, chrfOptions } from '../evaluate/scores/options.ts';
import { defineCommand } from './shared/command.ts';
import { optionFlags } from './shared/flags.ts';
import { reportScore, scoreArguments } from './shared/score-report.ts';

const flags = optionFlags<ChrfOptions>(chrfOptions, {
  charOrder: { value: 'N', description: 'Longest n-grams of characters' },
  wordOrder: { value: 'N', description: 'Longest n-grams of words: 0 is chrF, 2 is chrF++' },
  beta: { value: 'N', description: 'How much recall counts beside precision' },
  lowercase: { description: 'In lower case' },
  whitespace: { description: 'Spaces count as characters' },
  epsSmoothing: { description: 'Smoothing as in chrF++.py, NLTK and Moses' },
});

export const evalChrfCommand = defineCommand({
  meta: { name: 'chrf', description: 'Score translations by chrF or chrF++, equal to sacreBLEU’s' },
  args: { ...scoreArguments, ...flags.args },
  run: async (context) => {
    const metric = chrfMetric(flags.options(context.args));
    await reportScore(metric, metric, () => '', context);
  },
});
