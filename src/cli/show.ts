import { defineCommand } from './shared/command.ts';
import { showAskCommand } from './show-ask.ts';
import { showBuildCommand } from './show-build.ts';
import { showEvalCommand } from './show-eval.ts';

export const showCommand = defineCommand({
  meta: {
    name: 'show',
    description: 'Showing a model worked examples: encode them, ask with them, measure (AdapShot)',
  },
  subCommands: { build: showBuildCommand, ask: showAskCommand, eval: showEvalCommand },
});
