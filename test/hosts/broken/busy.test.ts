import { test } from 'uvu';

test('it never lets go', () => {
  for (;;);
});
test.run();
