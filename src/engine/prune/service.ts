import { prune } from '../../prune/job/job.ts';
import { planPrune } from '../../prune/job/planned.ts';
import { memoryOutput } from '../../runtime/output/memory.ts';
import type { Methods } from '../line/answers.ts';
import { jobStart } from '../line/job-service.ts';
import type { CallerPort, Remote } from '../line/port.ts';
import type { PruneCalls } from './protocol.ts';

/** The functions of a prune worker: those of `espalier/prune`, over the caller's host. */
export function pruneService(caller: Remote<CallerPort>): Methods<PruneCalls> {
  return {
    start: jobStart(caller),

    prune: async ({ live }, source, { out, ...options }) => {
      if (out !== undefined) return { receipt: await prune(source, { ...options, ...live, out }), files: {} };
      const memory = memoryOutput('the result');
      // a state would be gone with the worker
      const receipt = await prune(source, { ...options, saveEvery: 0, ...live, out: memory });
      return { receipt, files: memory.result() };
    },

    planPrune: ({ live }, source, { out, ...options }) =>
      planPrune(source, { ...options, ...live, ...(out === undefined ? {} : { out }) }),
  };
}
