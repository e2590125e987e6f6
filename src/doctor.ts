/** What a machine has for computing (`espalier/doctor`): host, SIMD, threads and GPUs, how fast they are, and what `device: 'auto'` is there. */

export type { AdapterDiagnosis, Diagnosis, HostDiagnosis, Rates } from './doctor/diagnosis.ts';
export { diagnosisRows } from './doctor/text.ts';
export { type DoctorOptions, doctor } from './engine/doctor/doctor.ts';
export { type ErrorCode, EspalierError } from './errors.ts';
