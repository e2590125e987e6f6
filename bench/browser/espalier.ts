/** Espalier in a page, as its users call it: the public API, everything in the engine worker. */
import { open as openModel } from '../../src/index.ts';
import type { LoadOptions, PageEngine } from './types.ts';

export async function open({ file, threads }: LoadOptions): Promise<PageEngine> {
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file}: ${response.status}`);
  // the same prompt is read again and again
  const model = await openModel(await response.blob(), { lanes: threads, promptCache: 0 });
  return {
    version: Object.values(model.description).join(', '),
    run: async ({ ids }, decoded) => {
      const start = performance.now();
      // the first token comes with the prompt
      const options = { maxTokens: decoded + 1, temperature: 0, stopAtEos: false };
      const { tokens, text, timings } = await model.generate(ids, options).result();
      const elapsed = (performance.now() - start) / 1000;
      if (timings.generatedTokens !== decoded + 1) throw new Error(`it ended after ${timings.generatedTokens} tokens`);
      return {
        prefill: timings.prefillMilliseconds / 1000,
        decode: timings.decodeMilliseconds / 1000,
        elapsed,
        ids: tokens.map(({ id }) => id),
        text,
      };
    },
  };
}
