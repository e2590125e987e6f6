// hosts: node, deno — a page cannot crash itself
import { test } from 'uvu';

test('it crashes', () => {
  process.kill(process.pid, 'SIGKILL');
});
test.run();
