import { evalBleuCommand } from './eval-bleu.ts';
import { evalChoiceCommand } from './eval-choice.ts';
import { evalChrfCommand } from './eval-chrf.ts';
import { evalMuseCommand } from './eval-muse.ts';
import { evalPerplexityCommand } from './eval-ppl.ts';
import { evalQuantisationCommand } from './eval-quantisation.ts';
import { evalRelearnCommand } from './eval-relearn.ts';
import { evalRougeCommand } from './eval-rouge.ts';
import { evalTofuCommand } from './eval-tofu.ts';
import { defineCommand } from './shared/command.ts';

export const evalCommand = defineCommand({
  meta: {
    name: 'eval',
    description:
      'Scores: BLEU and chrF of translations, perplexity of a model, what it has forgotten, and how soon it is back',
  },
  subCommands: {
    bleu: evalBleuCommand,
    chrf: evalChrfCommand,
    rouge: evalRougeCommand,
    ppl: evalPerplexityCommand,
    tofu: evalTofuCommand,
    muse: evalMuseCommand,
    choice: evalChoiceCommand,
    relearn: evalRelearnCommand,
    quantisation: evalQuantisationCommand,
  },
});
