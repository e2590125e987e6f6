import { bleuMetric } from '../evaluate/scores/bleu.ts';
import { type BleuOptions, bleuOptions } from '../evaluate/scores/options.ts';
import { defineCommand } from './shared/command.ts';
import { optionFlags } from './shared/flags.ts';
import { reportScore, scoreArguments } from './shared/score-report.ts';

const flags = optionFlags<BleuOptions>(bleuOptions, {
  tokenize: { value: 'NAME', description: 'How texts are cut into words: 13a, intl, zh, char or none' },
  lowercase: { description: 'In lower case' },
  smoothing: { value: 'NAME', description: 'Of orders without a match: exp, floor, add-k or none' },
  smoothingValue: { value: 'X', description: 'Of floor and add-k; default 0.1 and 1' },
  maxOrder: { value: 'N', description: 'Longest n-grams' },
  effectiveOrder: { description: 'Leave out orders that a text is too short for; of --sentences always' },
});

export const evalBleuCommand = defineCommand({
  meta: { name: 'bleu', description: 'Score translations by BLEU, equal to sacreBLEU’s' },
  args: { ...scoreArguments, ...flags.args },
  run: async (context) => {
    const options = flags.options(context.args);
    const sentence = bleuMetric({ ...options, effectiveOrder: true });
    await reportScore(
      bleuMetric(options),
      sentence,
      ({ precisions, brevityPenalty, hypothesisLength, referenceLength }) =>
        ` ${precisions.map((one) => one.toFixed(1)).join('/')} (BP = ${brevityPenalty.toFixed(3)}, ` +
        `words: ${hypothesisLength} of ${referenceLength})`,
      context,
    );
  },
});
