import { grow, planGrow } from '../../grow/job.ts';
import { merge } from '../../merge/job.ts';
import { memoryOutput } from '../../runtime/output/memory.ts';
import type { Methods } from '../line/answers.ts';
import { jobStart } from '../line/job-service.ts';
import type { CallerPort, Remote } from '../line/port.ts';
import type { GrowCalls } from './protocol.ts';

/** The functions of a grow worker: those of `espalier/grow`, over the caller's host. */
export function growService(caller: Remote<CallerPort>): Methods<GrowCalls> {
  return {
    start: jobStart(caller),

    grow: async ({ live }, source, { out, ...options }) => {
      if (out !== undefined) {
        return { receipt: await grow(source, { ...options, ...live, out }), files: {} };
      }
      const memory = memoryOutput('the result');
      const receipt = await grow(source, { ...options, ...live, out: memory });
      return { receipt, files: memory.result() };
    },

    merge: async ({ live }, source, { out, ...options }) => {
      const memory = out === undefined ? memoryOutput('the result') : null;
      const { files: sizes, ...merged } = await merge(source, { ...options, ...live, out: memory ?? out! });
      return { ...merged, sizes, files: memory?.result() ?? {} };
    },

    planGrow: ({ live }, source, { out, ...options }) =>
      planGrow(source, { ...options, ...live, ...(out === undefined ? {} : { out }) }),
  };
}
