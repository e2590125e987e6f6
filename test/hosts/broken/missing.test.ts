import { test } from 'uvu';
// @ts-expect-error: it is not there
import { nothing } from './nowhere.ts';

test('it never runs', nothing);
test.run();
