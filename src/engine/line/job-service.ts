import type { LaneSeat } from '../../device/wasm/lanes.ts';
import { setHost } from '../../runtime/host/host.ts';
import type { Host, WorkerHandle } from '../../runtime/host/types.ts';
import { Loss } from '../../runtime/host/worker-loss.ts';
import { lockAs } from '../../runtime/output/lock.ts';
import type { Context } from './answers.ts';
import type { HostFacts, JobCalls, Threads } from './job.ts';
import { lentLanes } from './lent-lanes.ts';
import type { CallerPort, Remote } from './port.ts';

/** The first call of a worker of jobs: it computes as on the caller's host, and locks under a name of its own. */
export function jobStart(
  caller: Remote<CallerPort>,
): (context: Context, ...args: Parameters<JobCalls['start']>) => void {
  return (_, facts: HostFacts, { name, ended }: Threads) => {
    setHost(hostOf(facts, caller));
    lockAs(name, ended);
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
