/** What `doctor` says. */
import type { Task } from '../device/crossover.ts';
import type { Outlook } from '../device/webgpu/choice.ts';

/** A GPU as WebGPU shows it, for people and for choosing. */
export interface AdapterDiagnosis {
  /** What the driver calls itself; empty where the host does not tell. */
  readonly name: string;
  /** Whether it is a program on the CPU: right, and slower than the wasm device. */
  readonly fallback: boolean;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

export interface HostDiagnosis {
  readonly name: 'node' | 'deno' | 'bun' | 'browser';
  /** `20.20.2`, in browsers `Chromium 156.0`; empty where it does not tell. */
  readonly version: string;
  /** Threads that run at once. */
  readonly cores: number;
  /** Whether threads may share memory: without it one of them computes. */
  readonly sharedMemory: boolean;
  /** HTTP headers without which a page has no shared memory; empty where it has, and where there is no page. */
  readonly missingHeaders: readonly string[];
}

/** What was measured, in less than a second each: the best of a few. */
export interface Rates {
  /** f32 product of 512 x 512 matrices on the wasm device, with all lanes: billions of multiplications and additions a second. */
  readonly wasmProduct: number;
  /** Weights that a product with one row reads, as when a token is written: gigabytes a second. */
  readonly wasmRead: number;
  /** The same product on the first GPU; null: there is none, or it failed. */
  readonly gpuProduct: number | null;
  /** What went wrong there, where something did. */
  readonly gpuFault: string | null;
}

/** What this machine has for computing, and what becomes of it. */
export interface Diagnosis {
  readonly host: HostDiagnosis;
  /** Kernels that the JavaScript engine runs: `relaxed` is faster. */
  readonly simd: 'relaxed' | 'plain';
  /** Threads that compute where nothing else is asked for. */
  readonly lanes: number;
  /** GPUs, the one that would be used first. */
  readonly adapters: readonly AdapterDiagnosis[];
  readonly rates: Rates;
  /** What `device: 'auto'` is here. */
  readonly auto: Readonly<Record<Task, Outlook>>;
}
