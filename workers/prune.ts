/** The prune worker of every host: one job of making a model forget. A file apart, so that pages that generate need not load it. */
import { serve } from '../src/engine/line/serve.ts';
import { pruneService } from '../src/engine/prune/service.ts';
import { parentEndpoint } from '../src/runtime/host/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => serve(endpoint, pruneService));
