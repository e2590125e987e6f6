/** onnxruntime-web in a page: in a worker of its own, since it computes in the thread that calls it. */
import { wrap } from 'comlink';
import type { LoadOptions, PageEngine, Prompt, Run } from './types.ts';

/** What the worker answers. */
export interface OrtWorker {
  load(options: LoadOptions): Promise<string>;
  run(prompt: Prompt, decoded: number): Promise<Omit<Run, 'elapsed'>>;
}

export async function open(options: LoadOptions): Promise<PageEngine> {
  const worker = wrap<OrtWorker>(new Worker('/bench/browser/ort-worker.ts', { type: 'module' }));
  const version = await worker.load(options);
  return {
    version,
    run: async (prompt, decoded) => {
      const start = performance.now();
      const run = await worker.run(prompt, decoded);
      return { ...run, elapsed: (performance.now() - start) / 1000 };
    },
  };
}
