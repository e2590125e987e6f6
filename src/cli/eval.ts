import { evalBleuCommand } from './eval-bleu.ts';
import { evalChrfCommand } from './eval-chrf.ts';
import { evalPerplexityCommand } from './eval-ppl.ts';
import { defineCommand } from './shared/command.ts';

export const evalCommand = defineCommand({
  meta: { name: 'eval', description: 'Scores: BLEU and chrF of translations, perplexity of a model' },
  subCommands: { bleu: evalBleuCommand, chrf: evalChrfCommand, ppl: evalPerplexityCommand },
});
