/**
 * In the bundles of workers all that computes on a GPU is a file of its own, `webgpu.js` beside them, which a worker fetches when a GPU is asked for:
 * esbuild would put it into each of them. It is an address and no import by name, so that bundlers of apps copy the file as it is, as they copy
 * the kernels: by default Vite makes classic scripts of workers, which cannot be in parts.
 */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCES = fileURLToPath(new URL('../src/', import.meta.url));
/** What loads a part of it. */
const LOADERS = /[\\/]webgpu[\\/]load\.ts$/;
const IMPORT = /(?<=return )import\('(\.\/[\w-]+\.ts)'\)/g;

async function loaded(path) {
  const text = await readFile(path, 'utf8');
  const parts = [...text.matchAll(IMPORT)].map(([, part]) => part);
  if (parts.length === 0) throw new Error(`${path} loads nothing.`);
  return { text, parts };
}

/** Replaces what loaders import by the file. */
export const gpuApart = {
  name: 'gpu-apart',
  setup: ({ onLoad }) => {
    onLoad({ filter: LOADERS }, async ({ path }) => {
      const { text } = await loaded(path);
      return {
        contents: text.replaceAll(IMPORT, "import(new URL('./webgpu.js', import.meta.url).href)"),
        loader: 'ts',
      };
    });
  },
};

/** The entry of the file: all that loaders import. */
export const GPU_ENTRY = 'espalier-webgpu';
export const gpuEntry = {
  name: 'gpu-entry',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: new RegExp(`^${GPU_ENTRY}$`) }, ({ path }) => ({ path, namespace: GPU_ENTRY }));
    onLoad({ filter: /^/, namespace: GPU_ENTRY }, async () => {
      const names = (await readdir(SOURCES, { recursive: true })).sort();
      const lines = [];
      for (const name of names.filter((one) => LOADERS.test(one))) {
        const { parts } = await loaded(join(SOURCES, name));
        for (const part of parts) lines.push(`export * from ${JSON.stringify(join(SOURCES, dirname(name), part))};`);
      }
      return { contents: lines.join('\n'), resolveDir: SOURCES };
    });
  },
};
