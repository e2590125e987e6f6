/** The engines, each for every thread count: those in pages of their own, and native llama.cpp in a process beside the browser. */
import { LlamaNative, available as llamaAvailable } from '../peers/llama-native.ts';
import type { Chromium } from './chromium.ts';
import type { EngineName, Prompt, Run } from './types.ts';

export const KINDS = ['espalier', 'wllama', 'ort-web', 'llama.cpp'] as const;
export type Kind = (typeof KINDS)[number];

export interface Contender {
  readonly kind: Kind;
  /** With its file, where it runs on more than one. */
  readonly name: string;
  readonly threads: number;
  open(): Promise<Opened>;
}

export interface Opened {
  readonly version: string;
  run(prompt: Prompt, decoded: number): Promise<Run>;
  close(): Promise<void>;
}

export interface Setting {
  readonly chromium: Chromium;
  readonly origin: string;
  /** Names of `/files/`, of those that are there. */
  readonly files: ReadonlySet<string>;
  /** The Q4_1 file, for what runs outside the browser. */
  readonly path: string;
  readonly context: number;
}

const FILES: readonly [EngineName, name: string, file: string][] = [
  ['espalier', 'espalier', 'q4_1.gguf'],
  ['wllama', 'wllama, Q4_1', 'q4_1.gguf'],
  ['wllama', 'wllama, Q8_0', 'q8_0.gguf'],
  ['ort-web', 'ort-web, f32', 'f32.onnx'],
];

/** @param only the kinds that are wanted */
export async function contenders(
  setting: Setting,
  threads: readonly number[],
  only: ReadonlySet<string>,
): Promise<{ list: Contender[]; leftOut: string[] }> {
  const list: Contender[] = [];
  const leftOut: string[] = [];
  const wanted = FILES.filter(([kind, , file]) => only.has(kind) && setting.files.has(file));
  const noLlama = only.has('llama.cpp') ? await llamaAvailable() : null;
  if (noLlama) leftOut.push(noLlama);
  for (const count of threads) {
    for (const [kind, name, file] of wanted) {
      list.push({ kind, name, threads: count, open: () => openInPage(setting, kind, file, count) });
    }
    if (only.has('llama.cpp') && !noLlama) {
      list.push({
        kind: 'llama.cpp',
        name: 'llama.cpp, native',
        threads: count,
        open: () => openNative(setting, count),
      });
    }
  }
  return { list, leftOut };
}

async function openInPage(setting: Setting, kind: EngineName, file: string, threads: number): Promise<Opened> {
  const page = await setting.chromium.open(setting.origin);
  const version = await page.call('load', kind, { file: `/files/${file}`, threads, context: setting.context });
  return { version, run: (prompt, decoded) => page.call('run', prompt, decoded), close: () => page.close() };
}

async function openNative({ path, context }: Setting, threads: number): Promise<Opened> {
  const llama = await LlamaNative.open(path, { context, threads });
  return {
    version: llama.version,
    run: async ({ ids }, decoded) => {
      const start = performance.now();
      const prefill = await llama.prefill(ids);
      const { seconds, ids: out } = await llama.decode(decoded);
      return { prefill, decode: seconds, elapsed: (performance.now() - start) / 1000, ids: out, text: null };
    },
    close: () => llama.dispose(),
  };
}
