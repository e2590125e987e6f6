import { openDevice } from '../../device/open-device.ts';
import type { Endpoint } from '../../runtime/host/types.ts';
import { packError, type WireError } from '../line/wire-error.ts';
import { type TaskName, tasks } from './tasks.ts';

/** First message to a worker that joins a crew. */
export interface HandStart {
  readonly hand: { readonly relaxed?: boolean | undefined; readonly wasmLocation?: string | undefined };
}

/** Then one message a task, and one answer to each. */
export interface HandTask {
  readonly name: TaskName;
  readonly input: object;
}

export type HandAnswer = { readonly ready: true } | { readonly value: unknown } | { readonly error: WireError };

/** The life of a worker of a crew: a device of its own, and one task after the other. */
export async function runHand({ hand }: HandStart, endpoint: Endpoint): Promise<void> {
  const { relaxed, wasmLocation } = hand;
  const answer = (message: HandAnswer, transfer: ArrayBuffer[] = []) => endpoint.postMessage(message, transfer);
  try {
    const device = await openDevice('wasm', {
      ...(relaxed === undefined ? {} : { relaxed }),
      ...(wasmLocation === undefined ? {} : { wasmLocation: new URL(wasmLocation) }),
    });
    endpoint.addEventListener('message', (event) => {
      const { name, input } = (event as MessageEvent<HandTask>).data;
      tasks[name](device, input as never).then(
        (value) => answer({ value }, value.buffer instanceof ArrayBuffer ? [value.buffer] : []),
        (error) => answer({ error: packError(error) }),
      );
    });
    answer({ ready: true });
  } catch (error) {
    answer({ error: packError(error) });
  }
}
