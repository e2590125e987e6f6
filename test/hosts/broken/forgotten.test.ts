import { test } from 'uvu';

test('it never runs', () => {});
