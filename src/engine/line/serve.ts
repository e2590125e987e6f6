import { expose, wrap } from '../../runtime/host/comlink.ts';
import { onHeartbeat } from '../../runtime/host/heartbeat.ts';
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
  const caller = wrap(endpoint) as unknown as Remote<CallerPort>;
  const holdings = new Holdings();
  onHeartbeat(() => endpoint.postMessage({ heartbeat: true } satisfies Heartbeat));
  expose(new Answers<C>(caller, holdings, methods(caller, holdings)), endpoint);
}
