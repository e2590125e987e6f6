/** Compiles and runs peak.ts: the ceilings of one core in the running engine. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export interface Peak {
  /** Fused multiply-add on 128-bit vectors, GFLOP/s; null where the engine has no relaxed SIMD. */
  fused: number | null;
  /** Multiply, then add, GFLOP/s. */
  mulAdd: number;
  /** Plain read of 100 MB, GB/s. */
  read: number;
}

interface Probe {
  memory: WebAssembly.Memory;
  flopsPerStep(): number;
  fused(steps: number, a: number, b: number): number;
  mulAdd(steps: number, a: number, b: number): number;
  read(at: number, bytes: number): number;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const HERE = fileURLToPath(new URL('.', import.meta.url)); // asc runs here, away from the root's asconfig.json
const BYTES = 100_000_000 - (100_000_000 % 128);
const STEPS = 1_000_000;
const PAGE = 65536;

async function compile(kind: 'relaxed' | 'simd'): Promise<Uint8Array<ArrayBuffer>> {
  const out = `${ROOT}build/peak.${kind}.wasm`;
  const age = (path: string) => stat(path).then((info) => info.mtimeMs);
  if ((await age(out).catch(() => 0)) < (await age(`${HERE}peak.ts`))) {
    await mkdir(`${ROOT}build`, { recursive: true });
    const asc = `${ROOT}node_modules/assemblyscript/bin/asc.js`;
    const features = kind === 'relaxed' ? 'simd,relaxed-simd' : 'simd';
    const options = ['--enable', features, '-O3', '--noAssert', '--runtime', 'stub', '-o', out];
    await promisify(execFile)(process.execPath, [asc, 'peak.ts', ...options], { cwd: HERE });
  }
  return new Uint8Array(await readFile(out));
}

function best(repeats: number, run: () => unknown): number {
  let seconds = Number.POSITIVE_INFINITY;
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    run();
    seconds = Math.min(seconds, (performance.now() - start) / 1000);
  }
  return seconds;
}

export async function measurePeak(): Promise<Peak> {
  const relaxed = await compile('relaxed');
  const hasRelaxed = WebAssembly.validate(relaxed);
  const { instance } = await WebAssembly.instantiate(hasRelaxed ? relaxed : await compile('simd'), {});
  const probe = instance.exports as unknown as Probe;
  const gflop = (STEPS * probe.flopsPerStep()) / 1e9;

  let kept = 0; // results are used, so that nothing can be dropped
  const fused = hasRelaxed ? gflop / best(25, () => (kept += probe.fused(STEPS, 0.5, 0.25))) : null;
  const mulAdd = gflop / best(25, () => (kept += probe.mulAdd(STEPS, 0.5, 0.25)));

  const at = probe.memory.buffer.byteLength;
  probe.memory.grow(Math.ceil(BYTES / PAGE));
  new Uint8Array(probe.memory.buffer, at).fill(1); // touches every page
  const read = BYTES / 1e9 / best(10, () => (kept += probe.read(at, BYTES)));
  if (!Number.isFinite(kept)) throw new Error('the probe computed nonsense');
  return { fused, mulAdd, read };
}

/** The higher figure of each of two measurements: one before and one after the work that is held against it. */
export function higher(a: Peak, b: Peak): Peak {
  return {
    fused: a.fused === null || b.fused === null ? null : Math.max(a.fused, b.fused),
    mulAdd: Math.max(a.mulAdd, b.mulAdd),
    read: Math.max(a.read, b.read),
  };
}
