import { defineCommand } from './command.ts';
import { iclAskCommand } from './icl-ask.ts';
import { iclBuildCommand } from './icl-build.ts';
import { iclEvalCommand } from './icl-eval.ts';

export const iclCommand = defineCommand({
  meta: { name: 'icl', description: 'Showing a model worked examples: encode them, ask with them, measure (AdapShot)' },
  subCommands: { build: iclBuildCommand, ask: iclAskCommand, eval: iclEvalCommand },
});
