import { diagnose } from '../../doctor/diagnose.ts';
import type { Methods } from '../line/answers.ts';
import { lentLanes } from '../line/lent-lanes.ts';
import type { CallerPort, Remote } from '../line/port.ts';
import type { DoctorCalls } from './protocol.ts';

/** The functions of a doctor worker: it looks at what any other worker would have. */
export function doctorService(caller: Remote<CallerPort>): Methods<DoctorCalls> {
  return {
    diagnose: (_, { lanes, wasmLocation }) =>
      diagnose({
        ...(lanes > 1 && { lanes, spawnLane: lentLanes(caller) }),
        ...(wasmLocation !== undefined && { wasmLocation: new URL(wasmLocation) }),
      }),
  };
}
