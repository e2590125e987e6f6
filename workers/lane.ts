/** One more thread, in every host: its first message is a seat among the lanes of a device, with which it shares memory. */
import { runLane } from '../src/device/wasm/lane.ts';
import type { LaneFirst, LaneSeat } from '../src/device/wasm/lanes.ts';
import { parentEndpoint } from '../src/runtime/host/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => {
  const start = ({ data }: { readonly data: unknown }) => {
    endpoint.removeEventListener('message', start);
    const first = data as LaneFirst;
    if (!('port' in first)) return sit(first);
    first.port.onmessage = ({ data }: MessageEvent<LaneSeat>) => sit(data);
  };
  const sit = (seat: LaneSeat) => void runLane(seat, () => endpoint.postMessage('ready')).finally(leave);
  endpoint.addEventListener('message', start);
});

/** The port would keep the thread. */
function leave(): void {
  const { process, close } = globalThis as { process?: { exit(): void }; close?: () => void };
  if (process) process.exit();
  else close?.();
}
