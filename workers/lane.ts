/**
 * One more thread, in every host. Its first message says what for: a seat among the lanes of a device, with which it shares memory,
 * or a place in a crew, where each has its own.
 */
import { runLane } from '../src/device/wasm/lane.ts';
import type { LaneSeat } from '../src/device/wasm/lanes.ts';
import { type HandStart, runHand } from '../src/engine/hand.ts';
import { parentEndpoint } from '../src/runtime/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => {
  const start = (event: Event) => {
    endpoint.removeEventListener('message', start);
    const first = (event as MessageEvent<LaneSeat | HandStart>).data;
    if ('hand' in first) void runHand(first, endpoint);
    else void runLane(first, () => endpoint.postMessage('ready')).finally(leave);
  };
  endpoint.addEventListener('message', start);
});

/** The port would keep the thread. */
function leave(): void {
  const { process, close } = globalThis as { process?: { exit(): void }; close?: () => void };
  if (process) process.exit();
  else close?.();
}
