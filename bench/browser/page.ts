/** Runs in each page: one engine, loaded and run as the harness says. */
import type { EngineName, LoadOptions, PageBench, PageEngine } from './types.ts';

type Open = (options: LoadOptions) => Promise<PageEngine>;

const engines: Record<EngineName, () => Promise<{ open: Open }>> = {
  espalier: () => import('./espalier.ts'),
  wllama: () => import('./wllama.ts'),
  'ort-web': () => import('./ort.ts'),
};

let engine: PageEngine | null = null;

const bench: PageBench = {
  load: async (name, options) => {
    engine = await (await engines[name]()).open(options);
    return engine.version;
  },
  run: (prompt, decoded) => engine!.run(prompt, decoded),
  roundTrip: async () => (await import('./round-trip.ts')).roundTrip(),
  watch: async (...args) => (await import('./main-thread.ts')).watch(...args),
};
Object.assign(globalThis, { bench });
