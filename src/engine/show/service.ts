import { openDevice } from '../../device/open-device.ts';
import { EspalierError } from '../../errors.ts';
import { openLocal } from '../../open-local.ts';
import { defined } from '../../options/defined.ts';
import { expose, wrap } from '../../runtime/host/comlink.ts';
import { onHeartbeat } from '../../runtime/host/heartbeat.ts';
import type { Endpoint } from '../../runtime/host/types.ts';
import { ShotPool } from '../../show/pool/pool.ts';
import { isLasting, openShotStore } from '../../show/pool/store.ts';
import type { PoolProgress, WorkEstimate } from '../../show/types.ts';
import { Answers, type Methods } from '../line/answers.ts';
import type { CallerPort, Heartbeat, Remote } from '../line/port.ts';
import type { ShowCalls } from './protocol.ts';

/** Encodes with one lane over memory of its own: workers beside each other share nothing but the store. */
const METHODS: Methods<ShowCalls> = {
  encode: async ({ live }, target, { shots, store: folder, wasmLocation, ...order }) => {
    const { signal } = live;
    const store = await openShotStore(folder);
    if (!isLasting(store)) {
      throw new EspalierError(
        'E_DEVICE_UNSUPPORTED',
        'This host keeps no files, so workers cannot hand over what they encode.',
        'Use ShotPool.build, which encodes in the calling thread.',
      );
    }
    const { instruction, prefix, storage, ...opening } = order;
    const device = await openDevice('auto', {
      lanes: 1,
      ...(wasmLocation !== undefined && { wasmLocation: new URL(wasmLocation) }),
    });
    try {
      const model = await openLocal(target, { ...opening, device, signal });
      try {
        let loaded = 0;
        const tell = live['onProgress'] as ((progress: PoolProgress) => void) | undefined;
        const pool = await ShotPool.build(model, shots, {
          ...defined({ instruction, prefix, storage }),
          store,
          grow: { initial: 0 },
          signal,
          ...defined({ onEstimate: live['onEstimate'] as ((estimate: WorkEstimate) => void) | undefined }),
          onProgress: (progress) => {
            loaded = progress.loaded;
            tell?.(progress);
          },
        });
        try {
          await pool.prepare(undefined, { signal });
          // here the store is all that is wanted
          for (const warning of pool.warnings) throw warning;
        } finally {
          pool.close();
        }
        return loaded;
      } finally {
        model.close();
      }
    } finally {
      device.close();
    }
  },
};

/** Answers the caller at the other end of the line. */
export function serve(endpoint: Endpoint): void {
  const caller = wrap(endpoint) as unknown as Remote<CallerPort>;
  onHeartbeat(() => endpoint.postMessage({ heartbeat: true } satisfies Heartbeat));
  expose(new Answers<ShowCalls>(caller, METHODS), endpoint);
}
