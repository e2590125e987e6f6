/** The grow worker, which a message `{ block: milliseconds }` keeps busy with one long operation, deaf to all others. Not a test itself. */
import '../../workers/grow.ts';
import { parentEndpoint } from '../../src/runtime/host/endpoint.ts';

void parentEndpoint().then((endpoint) => {
  endpoint.addEventListener('message', ({ data }) => {
    const { block } = (data ?? {}) as { block?: number };
    if (block === undefined) return;
    const end = performance.now() + block;
    while (performance.now() < end);
  });
});
