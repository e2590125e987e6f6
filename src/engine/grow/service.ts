import type { LaneSeat } from '../../device/wasm/lanes.ts';
import { grow, planGrow } from '../../grow/job.ts';
import { merge } from '../../merge/job.ts';
import { setHost } from '../../runtime/host/host.ts';
import type { Host, WorkerHandle } from '../../runtime/host/types.ts';
import { Loss } from '../../runtime/host/worker-loss.ts';
import { lockAs } from '../../runtime/output/lock.ts';
import { memoryOutput } from '../../runtime/output/memory.ts';
import type { Methods } from '../line/answers.ts';
import { lentLanes } from '../line/lent-lanes.ts';
import type { CallerPort, Remote } from '../line/port.ts';
import type { GrowCalls, HostFacts } from './protocol.ts';

/** The functions of a grow worker: those of `espalier/grow`, over the caller's host. */
export function growService(caller: Remote<CallerPort>): Methods<GrowCalls> {
  return {
    start: (_, facts, { name, ended }) => {
      setHost(hostOf(facts, caller));
      lockAs(name, ended);
    },

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

/** The caller's host, who starts the lanes: he hears of their death when this thread waits for them. */
function hostOf(facts: HostFacts, caller: Remote<CallerPort>): Host {
  return { ...facts, spawn: () => lentLane(caller) };
}

/** A lane on the caller's side, as far as a device uses one: it is sent its seat, and answers when it runs. It ends with the line. */
function lentLane(caller: Remote<CallerPort>): WorkerHandle {
  const answers = new EventTarget();
  const start = lentLanes(caller);
  const { lose, onLost } = new Loss();
  return {
    endpoint: {
      postMessage: (seat) => void start(seat as LaneSeat).then(() => answers.dispatchEvent(new Event('message')), lose),
      addEventListener: (type, listener) => answers.addEventListener(type, listener as never),
      removeEventListener: (type, listener) => answers.removeEventListener(type, listener as never),
    },
    ref: () => {},
    unref: () => {},
    terminate: async () => {},
    onLost,
  };
}
