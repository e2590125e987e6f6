import { test } from 'uvu';
import * as assert from 'uvu/assert';

test('it passes', () => {});
test('it fails', () => assert.is(1, 2));
test.run();
