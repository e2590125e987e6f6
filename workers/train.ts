/** The train worker of every host: one job of training a model. A file apart, so that pages that generate need not load it. */
import { serve } from '../src/engine/line/serve.ts';
import { trainService } from '../src/engine/train/service.ts';
import { parentEndpoint } from '../src/runtime/host/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => serve(endpoint, trainService));
