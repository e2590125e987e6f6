// device: cuda — why
import { test } from 'uvu';

test('it never runs', () => {});
test.run();
