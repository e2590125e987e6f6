/** The grow worker of every host: one job of growing a model. A file apart, so that pages that generate need not load it. */
import { growService } from '../src/engine/grow/service.ts';
import { serve } from '../src/engine/line/serve.ts';
import { parentEndpoint } from '../src/runtime/host/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => serve(endpoint, growService));
