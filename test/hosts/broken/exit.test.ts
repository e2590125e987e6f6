// hosts: node, deno — a page cannot end itself
import { test } from 'uvu';

test('it goes away', () => process.exit(0));
test.run();
