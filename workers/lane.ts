/** A lane of every host: one more thread for the operations of a device. Its first message is its seat. */
import { runLane } from '../src/device/wasm/lane.ts';
import type { LaneSeat } from '../src/device/wasm/lanes.ts';
import { parentEndpoint } from '../src/runtime/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => {
  endpoint.addEventListener(
    'message',
    (event) => {
      const seat = (event as MessageEvent<LaneSeat>).data;
      void runLane(seat, () => endpoint.postMessage('ready')).finally(leave);
    },
    {},
  );
});

/** The port would keep the thread. */
function leave(): void {
  const { process, close } = globalThis as { process?: { exit(): void }; close?: () => void };
  if (process) process.exit();
  else close?.();
}
