/**
 * The engine worker of every host: it computes what the classes of src/engine/ ask for. A first message of a crew makes it one of its hands
 * instead. Both need the same device, and so the lanes' script stays small.
 */
import { type HandStart, runHand } from '../src/engine/crew/hand.ts';
import { serve } from '../src/engine/model/service.ts';
import { parentEndpoint } from '../src/runtime/host/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => {
  const start = ({ data }: { readonly data: unknown }) => {
    endpoint.removeEventListener('message', start);
    const first = data as HandStart | object;
    if ('hand' in first) void runHand(first, endpoint);
  };
  endpoint.addEventListener('message', start);
  // Comlink passes over what is no message of its own
  serve(endpoint);
});
