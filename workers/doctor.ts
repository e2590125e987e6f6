/** The doctor worker of every host: it looks at what there is for computing. A file apart, so that no other has to hold it. */
import { doctorService } from '../src/engine/doctor/service.ts';
import { serve } from '../src/engine/line/serve.ts';
import { parentEndpoint } from '../src/runtime/host/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => serve(endpoint, doctorService));
