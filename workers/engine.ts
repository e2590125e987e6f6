/** The engine worker of every host: it computes what the classes of src/engine/ ask for. */
import { serve } from '../src/engine/service.ts';
import { parentEndpoint } from '../src/runtime/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then(serve);
