import { test } from 'uvu';

test('it loses an error', async () => {
  void Promise.reject(new Error('lost'));
  await new Promise((resolve) => setTimeout(resolve, 200));
});
test.run();
