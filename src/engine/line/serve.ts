import { expose, wrap } from '../../runtime/host/comlink.ts';
import { beatAgain, onHeartbeat } from '../../runtime/host/heartbeat.ts';
import type { Endpoint } from '../../runtime/host/types.ts';
import { Answers, type Methods } from './answers.ts';
import { Holdings } from './holdings.ts';
import type { CallerPort, Calls, Heartbeat, Remote } from './port.ts';

/**
 * The life of a worker of any kind: it answers the caller at the other end of the line, and calls him back over the same line.
 * @param methods the functions behind the calls
 */
export function serve<C extends Calls<C>>(
  endpoint: Endpoint,
  methods: (caller: Remote<CallerPort>, holdings: Holdings) => Methods<C>,
): void {
  const line = beating(endpoint);
  const caller = wrap(line) as unknown as Remote<CallerPort>;
  const holdings = new Holdings();
  expose(new Answers<C>(caller, holdings, methods(caller, holdings)), line);
}

/** The endpoint, on which kernels make themselves known, the first behind each message. */
function beating(endpoint: Endpoint): Endpoint {
  onHeartbeat(() => endpoint.postMessage({ heartbeat: true } satisfies Heartbeat));
  return {
    postMessage: (...message) => {
      endpoint.postMessage(...message);
      beatAgain();
    },
    addEventListener: (type, listener) => endpoint.addEventListener(type, listener),
    removeEventListener: (type, listener) => endpoint.removeEventListener(type, listener),
  };
}
