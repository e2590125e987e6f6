/**
 * An address beside a module, by the module's own. Bundlers follow `new URL('…', import.meta.url)`, also through constants, and pack or miss
 * the file that it names; behind a function they do not. For files that are found when they are there, and not part of an app.
 */
export function beside(path: string, module: string): URL {
  return new URL(path, module);
}
