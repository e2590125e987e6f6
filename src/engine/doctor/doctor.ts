import type { Diagnosis, HostDiagnosis } from '../../doctor/diagnosis.ts';
import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import { place, type Schema, signal } from '../../options/rules.ts';
import { host } from '../../runtime/host/host.ts';
import { laneCount } from '../../runtime/host/lane-count.ts';
import type { Host } from '../../runtime/host/types.ts';
import { WorkerLink } from '../line/link.ts';
import { placeOf } from '../line/parted-options.ts';
import { DOCTOR, type DoctorCalls } from './protocol.ts';

export interface DoctorOptions {
  /** Folder of the kernels' wasm files, where it is not beside the JavaScript. */
  readonly wasmLocation?: string | URL;
  /** The script of the worker (`workers/doctor.js`), and that of a lane, where they are not beside the JavaScript. */
  readonly workerLocation?: string | URL;
  readonly laneLocation?: string | URL;
  readonly signal?: AbortSignal;
}

export const doctorOptions = {
  wasmLocation: place,
  workerLocation: place,
  laneLocation: place,
  signal,
} as const satisfies Schema<DoctorOptions>;

/**
 * What this machine has for computing, measured in a worker of its own that ends with the call: SIMD, threads, GPUs, how fast they are, what
 * `device: 'auto'` is here, and which headers a page lacks. Takes a few seconds.
 * @throws E_ARGUMENT, E_DEVICE_UNSUPPORTED without WebAssembly SIMD, E_FILE_NOT_FOUND, E_ABORTED, E_WORKER_LOST
 */
export async function doctor(options: DoctorOptions = {}): Promise<Diagnosis> {
  const given = checked<DoctorOptions>(doctorOptions, options, 'doctor');
  const on = await host();
  const lanes = laneCount('auto', on);
  const wasm = placeOf(given.wasmLocation, true);
  const places = { worker: placeOf(given.workerLocation), lane: placeOf(given.laneLocation) };
  const link = new WorkerLink<DoctorCalls>(on, DOCTOR, places);
  try {
    const asked = { lanes, ...(wasm && { wasmLocation: wasm.href }) };
    const found = await link.call('diagnose', [asked], { signal: given.signal });
    return { host: hostDiagnosis(on), ...found };
  } finally {
    await link.end(new EspalierError('E_DISPOSED', 'The doctor has gone.', 'Ask again.'));
  }
}

const HEADERS = ['Cross-Origin-Opener-Policy: same-origin', 'Cross-Origin-Embedder-Policy: require-corp'];

function hostDiagnosis({ name, cores, sharedMemory }: Host): HostDiagnosis {
  const missingHeaders = name === 'browser' && !sharedMemory ? HEADERS : [];
  return { name, version: versionOf(name), cores, sharedMemory, missingHeaders };
}

function versionOf(name: Host['name']): string {
  const { Deno, Bun, process, navigator } = globalThis as {
    Deno?: { version?: { deno?: string } };
    Bun?: { version?: string };
    process?: { versions?: { node?: string } };
    navigator?: { userAgent?: string };
  };
  switch (name) {
    case 'node':
      return process?.versions?.node ?? '';
    case 'deno':
      return Deno?.version?.deno ?? '';
    case 'bun':
      return Bun?.version ?? '';
    case 'browser': {
      const [, program, version] = /(Firefox|Edg|Chrome|Version)\/([\d.]+)/.exec(navigator?.userAgent ?? '') ?? [];
      const names = { Firefox: 'Firefox', Edg: 'Edge', Chrome: 'Chromium', Version: 'Safari' } as const;
      return program === undefined ? '' : `${names[program as keyof typeof names]} ${version}`;
    }
    default:
      return name satisfies never;
  }
}
