import { defineCommand } from './shared/command.ts';
import { iclAskCommand } from './show-ask.ts';
import { iclBuildCommand } from './show-build.ts';
import { iclEvalCommand } from './show-eval.ts';

export const iclCommand = defineCommand({
  meta: { name: 'icl', description: 'Showing a model worked examples: encode them, ask with them, measure (AdapShot)' },
  subCommands: { build: iclBuildCommand, ask: iclAskCommand, eval: iclEvalCommand },
});
