import { test } from 'uvu';

test('it leaves a timer', () => {
  setInterval(() => {}, 1000);
});
test.run();
