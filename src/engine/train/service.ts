import { relearn } from '../../evaluate/robustness/relearn.ts';
import { memoryOutput } from '../../runtime/output/memory.ts';
import { planTrain, train } from '../../train/job.ts';
import type { Methods } from '../line/answers.ts';
import { jobStart } from '../line/job-service.ts';
import type { CallerPort, Remote } from '../line/port.ts';
import type { TrainCalls } from './protocol.ts';

/** The functions of a train worker: those of `espalier/train`, and `relearn` of `espalier/prune`, over the caller's host. */
export function trainService(caller: Remote<CallerPort>): Methods<TrainCalls> {
  return {
    start: jobStart(caller),

    train: async ({ live }, source, { out, ...options }) => {
      if (out !== undefined) return { receipt: await train(source, { ...options, ...live, out }), files: {} };
      const memory = memoryOutput('the result');
      // a state would be gone with the worker
      const receipt = await train(source, { ...options, saveEvery: 0, ...live, out: memory });
      return { receipt, files: memory.result() };
    },

    relearn: ({ live }, source, { out: _, ...options }) => relearn(source, { ...options, ...live }),

    planTrain: ({ live }, source, { out, ...options }) =>
      planTrain(source, { ...options, ...live, ...(out === undefined ? {} : { out }) }),
  };
}
