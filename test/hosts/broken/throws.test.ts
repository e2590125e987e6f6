import { test } from 'uvu';

test('it never runs', () => {});
test.run();
throw new Error('thrown while it loads');
