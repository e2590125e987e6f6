/** SmolLM2, which several suites time: where it is, what it reads, and engines in turn at prefill and decode. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { exists } from './browser/files.ts';
import { compare, type Options, type Timing } from './harness.ts';

export const SHARED = fileURLToPath(new URL('../../shared', import.meta.url));
export const SMOLLM2 = `${SHARED}/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf`;
export const GOLDEN = `${SHARED}/golden/smollm2.json`;

/** Real text where there is some, so that all engines see the same tokens. */
export async function promptIds(tokens: number): Promise<number[]> {
  const ids: number[] = (await exists(GOLDEN)) ? JSON.parse(await readFile(GOLDEN, 'utf8')).text.ids : [];
  return Array.from({ length: tokens }, (_, i) => ids[i] ?? 1000 + ((i * 7919) % 40000));
}

export interface Engine {
  /** Forgets what was there; seconds. */
  prefill(ids: readonly number[]): Promise<number>;
  /** Greedy, from where the last call ended. */
  decode(n: number): Promise<{ seconds: number; ids: number[] }>;
  dispose(): Promise<void> | void;
}

export interface Measured {
  readonly prefill: Timing[];
  readonly decode: Timing[];
  /** By engine, what it wrote last. */
  readonly texts: Readonly<Record<string, readonly number[]>>;
}

/** Engines by name, ours first. Each decoding starts from the same cache, behind an untimed prefill. */
export async function prefillAndDecode(
  engines: readonly (readonly [name: string, Engine])[],
  ids: readonly number[],
  decoded: number,
  rounds: { readonly prefill: Options; readonly decode: Options },
): Promise<Measured> {
  const prefill = await compare(
    engines.map(([name, engine]) => ({ name, unit: 'token', unitsPerRun: ids.length, run: () => engine.prefill(ids) })),
    rounds.prefill,
  );
  const texts: Record<string, readonly number[]> = {};
  const decode = await compare(
    engines.map(([name, engine]) => ({
      name,
      unit: 'token',
      unitsPerRun: decoded,
      before: () => engine.prefill(ids),
      run: async () => {
        const { seconds, ids: text } = await engine.decode(decoded);
        texts[name] = text;
        return seconds;
      },
    })),
    rounds.decode,
  );
  return { prefill, decode, texts };
}

/** Whether all wrote the same. */
export function sameText({ texts }: Measured): boolean {
  return new Set(Object.values(texts).map((ids) => ids.join())).size === 1;
}
