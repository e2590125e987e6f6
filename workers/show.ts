/**
 * The show worker of every host: an engine whose models can be shown examples. A file apart, so that pages that only generate need not
 * load it.
 */
import { serve } from '../src/engine/line/serve.ts';
import { showService } from '../src/engine/show/service.ts';
import { parentEndpoint } from '../src/runtime/host/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => serve(endpoint, showService));
