// hosts: node, netscape
import { test } from 'uvu';

test('it never runs', () => {});
test.run();
