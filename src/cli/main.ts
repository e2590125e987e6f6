#!/usr/bin/env node
import { defineCommand, runMain } from 'citty';
import { cacheCommand } from './cache.ts';
import { generateCommand } from './generate.ts';
import { inspectCommand } from './inspect.ts';
import { scoreCommand } from './score.ts';
import { upcycleCommand } from './upcycle.ts';

const main = defineCommand({
  meta: {
    name: 'espalier',
    version: '0.1.0',
    description: 'Adapt pretrained language models anywhere JavaScript runs',
  },
  subCommands: {
    generate: generateCommand,
    score: scoreCommand,
    inspect: inspectCommand,
    upcycle: upcycleCommand,
    // on demand: most commands need nothing of it
    icl: () => import('./icl.ts').then(({ iclCommand }) => iclCommand),
    cache: cacheCommand,
  },
});

// whoever reads the output may have enough of it (`| head`)
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

await runMain(main);
