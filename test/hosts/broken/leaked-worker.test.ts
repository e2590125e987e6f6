// hosts: deno, chromium, chromium-plain, firefox — Node has no Worker like theirs
import { test } from 'uvu';

test('it leaves a worker', () => {
  new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
});
test.run();
