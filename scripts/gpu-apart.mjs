/**
 * In the bundles of workers all that computes on a GPU is a file of its own, `webgpu.js` beside them, which a worker fetches when a GPU is asked for:
 * esbuild would put it into each of them. It is an address and no import by name, so that bundlers of apps copy the file as it is, as they copy
 * the kernels: by default Vite makes classic scripts of workers, which cannot be in parts.
 */
export const gpuApart = {
  name: 'gpu-apart',
  setup: ({ onLoad }) => {
    onLoad({ filter: /webgpu[\\/]load\.ts$/ }, () => ({
      contents: `export const loadGpu = () => import(new URL('./webgpu.js', import.meta.url).href);`,
      loader: 'js',
    }));
  },
};
