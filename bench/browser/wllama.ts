/**
 * wllama (llama.cpp's server as WebAssembly) in a page, CPU only. Its own clock is taken, which its server runs around prompt and
 * tokens; what crossing to its worker costs is not counted.
 */
import type { LoadOptions, PageEngine } from './types.ts';

/** What is used of its types: the project type-checks without the peers installed. */
interface Wllama {
  loadModel(blobs: Blob[], options: object): Promise<void>;
  getNumThreads(): number;
  createCompletion(options: object): Promise<{
    choices: { text: string }[];
    timings?: { cache_n: number; prompt_n: number; prompt_ms: number; predicted_n: number; predicted_ms: number };
  }>;
}
interface Package {
  Wllama: (new (paths: { default: string }, options: object) => Wllama) & { getLibllamaVersion(): string };
}

const FOLDER = '/peers/@wllama/wllama/';

export async function open({ file, threads, context }: LoadOptions): Promise<PageEngine> {
  const { Wllama } = (await import(`${FOLDER}esm/index.js`)) as Package;
  const { version } = (await (await fetch(`${FOLDER}package.json`)).json()) as { version: string };
  const silent = { debug: () => {}, log: () => {}, warn: () => {}, error: console.error };
  const wllama = new Wllama({ default: `${FOLDER}esm/wasm/wllama.wasm` }, { suppressNativeLog: true, logger: silent });
  const model = await (await fetch(file)).blob();
  const batch = { n_ctx: context, n_batch: 512, n_ubatch: 512, n_parallel: 1 };
  await wllama.loadModel([model], { ...batch, n_gpu_layers: 0, n_threads: threads });
  if (wllama.getNumThreads() !== threads) throw new Error(`wllama runs ${wllama.getNumThreads()} threads`);
  return {
    version: `wllama ${version} (llama.cpp ${Wllama.getLibllamaVersion()})`,
    run: async ({ ids, text }, decoded) => {
      const start = performance.now();
      const { choices, timings } = await wllama.createCompletion({
        prompt: text, // it takes no ids
        max_tokens: decoded + 1, // the first comes with the prompt, and its clock for tokens starts there
        temperature: 0,
        ignore_eos: true,
        cache_prompt: false,
      });
      const elapsed = (performance.now() - start) / 1000;
      if (timings?.prompt_n !== ids.length || timings.cache_n !== 0 || timings.predicted_n !== decoded + 1) {
        throw new Error(`wllama ran something else: ${JSON.stringify(timings)}`);
      }
      return {
        prefill: timings.prompt_ms / 1000,
        decode: timings.predicted_ms / 1000,
        elapsed,
        ids: null,
        text: choices[0]!.text,
      };
    },
  };
}
