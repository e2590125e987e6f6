/**
 * The project's modules as a browser can run them, one by one: TypeScript loses its types, and bare imports become addresses of
 * packages, each bundled into one module. A bundle of all would be another program: `import.meta.url` would no longer point into
 * the project, and an import map does not reach into workers.
 */
import { SourceMap, type SourceMapPayload } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, build, type Plugin, stop } from 'esbuild';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const PACKAGES = '/packages/';

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
  readonly #maps = new Map<string, SourceMap>();
  readonly #problems: string[] = [];

  /** Modules that could not be made. An import that one of them lacks is all that a browser says of it. */
  get problems(): string {
    return this.#problems.map((problem) => `${problem}\n`).join('');
  }

  /** The JavaScript of an address such as `/src/index.ts` or `/packages/uvu/assert`; of what cannot be made, one that throws. */
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
      outfile: 'module.js',
      treeShaking: false,
      sourcemap: 'external',
      plugins: [addresses],
    });
    const text = (ending: string) => outputFiles.find(({ path }) => path.endsWith(ending))!.text;
    this.#maps.set(address, new SourceMap(JSON.parse(text('.map')) as SourceMapPayload));
    return text('.js');
  }

  async #package(address: string): Promise<string> {
    const name = address.slice(PACKAGES.length);
    const { outputFiles } = await build({ ...common, entryPoints: [name], outfile: 'package.js' });
    return outputFiles[0]!.text;
  }

  /** Places in stacks as places in the project. */
  mapped(text: string): string {
    return text.replace(/http:\/\/127\.0\.0\.1:\d+(\/[^\s:?)]+):(\d+):(\d+)/g, (whole, address, line, column) => {
      const found = this.#maps.get(address)?.findEntry(Number(line) - 1, Number(column) - 1);
      if (!found || !('originalLine' in found)) return whole;
      return `${address.slice(1)}:${found.originalLine + 1}:${found.originalColumn + 1}`;
    });
  }

  close(): Promise<void> {
    return stop();
  }
}

/** Every import stays an import, of an address that the server knows. */
const addresses: Plugin = {
  name: 'addresses',
  setup: ({ onResolve }) => {
    onResolve({ filter: /.*/ }, ({ path, kind }) => {
      if (kind === 'entry-point') return null;
      if (/^\.{0,2}\//.test(path)) return { path, external: true };
      if (!path.startsWith('node:')) return { path: `${PACKAGES}${path}`, external: true };
      // on first use it may be one that a browser never comes to
      if (kind === 'dynamic-import') return { path, external: true };
      const text = `${path} is imported, which no browser has; import it on first use, or declare "// hosts:".`;
      return { errors: [{ text }] };
    });
  },
};
