/** What crosses between the caller's thread and a doctor worker, as types. */
import type { Diagnosis } from '../../doctor/diagnosis.ts';
import type { LinkKind } from '../line/link.ts';

/** Calls that a doctor worker answers. */
export interface DoctorCalls {
  diagnose(options: { readonly lanes: number; readonly wasmLocation?: string }): Promise<Omit<Diagnosis, 'host'>>;
}

export const DOCTOR: LinkKind = { worker: 'doctor', again: 'Ask again.', local: 'doctor of espalier' };
