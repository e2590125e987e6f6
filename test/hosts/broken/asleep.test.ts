import { test } from 'uvu';

test('it never ends', () => new Promise(() => setInterval(() => {}, 1000)));
test.run();
