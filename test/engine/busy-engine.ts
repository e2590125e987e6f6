/**
 * The engine worker, which a message `{ block: milliseconds }` keeps busy with one long operation, deaf to all others; with `beat: true` as
 * a kernel does, which says before that it begins. Not a test itself.
 */
import '../../workers/engine.ts';
import { parentEndpoint } from '../../src/runtime/host/endpoint.ts';
import { heartbeat } from '../../src/runtime/host/heartbeat.ts';

void parentEndpoint().then((endpoint) => {
  endpoint.addEventListener('message', (event) => {
    const { block, beat } = (event as MessageEvent<{ block?: number; beat?: boolean }>).data ?? {};
    if (block === undefined) return;
    if (beat) heartbeat();
    const end = performance.now() + block;
    while (performance.now() < end);
  });
});
