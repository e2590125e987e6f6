/** All that Espalier needs of Vite. */
export default {
  // its development server must not move the package's files away from its workers
  optimizeDeps: { exclude: ['espalier'] },
  // these two let a page share memory between threads; without them one thread computes
  server: {
    // the page's script and style are those of ../page
    fs: { allow: ['..'] },
    headers: { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' },
  },
  preview: {
    headers: { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' },
  },
};
