/** Installs Espalier from this checkout, packed as it would be published. With a published one, `npm install espalier` is all. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

if (!existsSync(new URL('node_modules/espalier/package.json', import.meta.url))) {
  console.log('packing and installing Espalier from this checkout: two minutes');
  const options = { cwd: new URL('.', import.meta.url), stdio: 'inherit', shell: process.platform === 'win32' };
  execFileSync('npm', ['install', '--no-save', '--install-links', '../..'], options);
}
