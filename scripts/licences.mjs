/**
 * The file of licences of what others wrote and the build puts into our own files: every package of esbuild's metafiles, and the standard
 * library of AssemblyScript, which is compiled into the kernels.
 */
import { readdir, readFile } from 'node:fs/promises';

/** Names of the packages whose code is in bundles. @param metafiles esbuild's own */
export function bundledPackages(metafiles) {
  const names = new Set();
  for (const { outputs } of metafiles) {
    for (const { inputs } of Object.values(outputs)) {
      for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
        const name = /.*node_modules[\\/]((?:@[^\\/]+[\\/])?[^\\/]+)/.exec(path)?.[1];
        if (name && bytesInOutput > 0) names.add(name.replace('\\', '/'));
      }
    }
  }
  return [...names].sort();
}

/** @param modules the folder node_modules, ending with a slash. Throws for a package that comes without its licence. */
export async function licences(packages, modules) {
  const parts = [
    'Third-party licences\n\nFiles of this package contain code of the packages below, under the licences that stand here.\n',
  ];
  for (const name of packages) {
    const folder = `${modules}${name}/`;
    const { version, license, author, repository } = JSON.parse(await readFile(`${folder}package.json`, 'utf8'));
    const texts = (await readdir(folder))
      .filter((file) => /^(licen[cs]e|notice|copying)(\.(md|txt))?$/i.test(file))
      .sort();
    if (!texts.some((file) => /^(licen[cs]e|copying)/i.test(file)))
      throw new Error(`${name} has no file of its licence.`);
    const by = typeof author === 'string' ? author : author?.name;
    const from = typeof repository === 'string' ? repository : repository?.url;
    const head = [`${name} ${version}`, `Licence: ${license}`, by && `Author: ${by}`, from && `Source: ${from}`];
    const bodies = await Promise.all(texts.map(async (file) => (await readFile(folder + file, 'utf8')).trim()));
    parts.push(`${'='.repeat(80)}\n${head.filter(Boolean).join('\n')}\n\n${bodies.join('\n\n')}\n`);
  }
  return parts.join('\n');
}
