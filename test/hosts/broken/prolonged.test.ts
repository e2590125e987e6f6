// long — as an example
import { test } from 'uvu';

test('it passes', () => console.log('  worst of all: 1'));
test.skip('it is skipped', () => {});
test.run();
