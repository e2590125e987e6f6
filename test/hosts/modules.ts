/**
 * The project's modules as a browser can run them: TypeScript loses its types, bare imports become addresses of packages, since an import
 * map does not reach into workers, and what a page or a worker begins with is joined with all that it imports: hundreds of modules, one by
 * one, are four fifths of the work of a test that opens engines. Each still knows where it lies. The build joins workers too; that a page
 * can take the other modules one by one, test/engine/bundlers.test.ts says.
 */
import { readFile } from 'node:fs/promises';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { dirname, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Plugin, stop } from 'esbuild';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const PACKAGES = '/packages/';
/** What is imported on first use, and what it shares with the rest. */
const CHUNKS = '/chunks/';

/** Whether `Modules` has the source of an address. */
export function isModule(address: string): boolean {
  return address.startsWith(PACKAGES) || address.startsWith(CHUNKS) || address.endsWith('.ts');
}

const common: BuildOptions & { write: false } = {
  absWorkingDir: PROJECT,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  platform: 'browser',
  write: false,
  logLevel: 'silent',
};

export class Modules {
  readonly #sources = new Map<string, Promise<string>>();
  /** As texts until somebody asks: most are never looked at. */
  readonly #maps = new Map<string, string | SourceMap>();
  readonly #problems: string[] = [];

  /** Modules that could not be made. An import that one of them lacks is all that a browser says of it. */
  get problems(): string {
    return this.#problems.map((problem) => `${problem}\n`).join('');
  }

  /**
   * The JavaScript of an address such as `/workers/lane.ts`, with which a page or a worker begins, or `/packages/uvu/assert`; of what
   * cannot be made, one that throws.
   */
  source(address: string): Promise<string> {
    let source = this.#sources.get(address);
    if (!source) {
      const made = address.startsWith(PACKAGES) ? this.#package(address) : this.#module(address);
      source = made.catch((error) => {
        this.#problems.push(`${address}: ${error.message}`);
        return `throw new Error(${JSON.stringify(`${address} could not be made`)});`;
      });
      this.#sources.set(address, source);
    }
    return source;
  }

  async #module(address: string): Promise<string> {
    const { outputFiles } = await build({
      ...common,
      entryPoints: [`.${address}`],
      outbase: PROJECT,
      outdir: PROJECT,
      chunkNames: `${CHUNKS.slice(1)}[hash]`,
      splitting: true,
      treeShaking: false,
      sourcemap: 'external',
      sourcesContent: false,
      plugins: [addresses, places],
    });
    let own = '';
    for (const { path, text } of outputFiles) {
      const made = `/${relative(PROJECT, path).split(sep).join('/')}`.replace(/\.map$/, '');
      const at = made.startsWith(CHUNKS) ? made : address;
      if (path.endsWith('.map')) this.#maps.set(at, text);
      else if (at === address) own = text;
      else this.#sources.set(at, Promise.resolve(text));
    }
    return own;
  }

  async #package(address: string): Promise<string> {
    const name = address.slice(PACKAGES.length);
    const { outputFiles } = await build({ ...common, entryPoints: [name], outfile: 'package.js' });
    return outputFiles[0]!.text;
  }

  /** Places in stacks as places in the project. */
  mapped(text: string): string {
    return text.replace(/http:\/\/127\.0\.0\.1:\d+(\/[^\s:?)]+):(\d+):(\d+)/g, (whole, address, line, column) => {
      const found = this.#map(address)?.findEntry(Number(line) - 1, Number(column) - 1);
      if (!found || !('originalLine' in found)) return whole;
      const source = relative(PROJECT, resolve(PROJECT, dirname(address.slice(1)), found.originalSource));
      return `${source}:${found.originalLine + 1}:${found.originalColumn + 1}`;
    });
  }

  #map(address: string): SourceMap | undefined {
    const map = this.#maps.get(address);
    if (typeof map !== 'string') return map;
    const read = new SourceMap(JSON.parse(map) as SourceMapPayload);
    this.#maps.set(address, read);
    return read;
  }

  close(): Promise<void> {
    return stop();
  }
}

/** An import from elsewhere stays one, of an address that the server knows. */
const addresses: Plugin = {
  name: 'addresses',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^[^.]/ }, ({ path, kind }) => {
      if (kind === 'entry-point') return null;
      if (path.startsWith('/')) return { path, external: true };
      if (!path.startsWith('node:')) return { path: `${PACKAGES}${path}`, external: true };
      // on first use it may be one that a browser never comes to
      if (kind === 'dynamic-import') return { path, external: true };
      const text = `${path} is imported, which no browser has; import it on first use, or declare "// hosts:".`;
      return { errors: [{ text }] };
    });
  },
};

/** Joined modules know where each of them lies. */
const places: Plugin = {
  name: 'places',
  setup: ({ onLoad }) => {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const address = JSON.stringify(`/${relative(PROJECT, path).split(sep).join('/')}`);
      const text = await readFile(path, 'utf8');
      const contents = text.replaceAll(/\bimport\.meta\.url\b/g, `new URL(${address}, import.meta .url).href`);
      return { contents, loader: 'ts' };
    });
  },
};
