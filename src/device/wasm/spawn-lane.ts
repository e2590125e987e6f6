import { host } from '../../runtime/host/host.ts';
import { markLaneLost } from './control.ts';
import type { LaneSeat } from './lanes.ts';

/** Starts a lane as a worker of this host. It ends with its device, and `onEnd` is called. Rejects when it does not start. */
export async function spawnLane(seat: LaneSeat, onEnd: () => void = () => {}): Promise<void> {
  const { control } = seat;
  const worker = (await host()).spawn('lane');
  await new Promise<void>((resolve, reject) => {
    worker.onLost((cause) => {
      markLaneLost(control);
      onEnd();
      reject(cause);
    });
    worker.ref();
    const ready = () => {
      worker.endpoint.removeEventListener('message', ready);
      worker.unref();
      resolve();
    };
    worker.endpoint.addEventListener('message', ready);
    worker.endpoint.postMessage(seat);
  });
}
