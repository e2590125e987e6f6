/** The engine worker of every host: it computes what the classes of src/engine/model/ ask for. */
import { serve } from '../src/engine/line/serve.ts';
import { engineService } from '../src/engine/model/service.ts';
import { parentEndpoint } from '../src/runtime/host/endpoint.ts';

// no await at the top: some bundlers make classic scripts of workers
void parentEndpoint().then((endpoint) => {
  // nothing of an engine asks for an identity
  serve(endpoint, (caller, holdings) => engineService(caller, holdings, { withIdentity: false }).methods);
});
