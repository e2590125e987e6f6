import type { LaneSeat } from '../../device/wasm/lanes.ts';
import { transfer } from '../../runtime/host/comlink.ts';
import type { CallerPort, Remote } from './port.ts';

/**
 * In a worker: starts lanes on the caller's side, who hears of their death while this thread waits for them. The seat goes to the lane by a
 * line that the caller passes on unread, so that no object of his holds the memory.
 */
export function lentLanes(caller: Remote<CallerPort>): (seat: LaneSeat) => Promise<void> {
  return async (seat) => {
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(seat);
    try {
      await caller.spawnLane(transfer({ control: seat.control, port: port2 }, [port2]));
    } finally {
      port1.close();
    }
  };
}
