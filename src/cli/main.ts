#!/usr/bin/env node
/** The process: its signals, its streams and its exit code. */
import { outputFailed } from '../runtime/output/output.ts';
import { runProgram } from './program.ts';
import { processIo } from './shared/io.ts';

// whoever reads the output may have enough of it (`| head`)
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    const { code, message, hint } = outputFailed('stdout', error);
    if (stream === process.stdout) process.stderr.write(`${code}: ${message} ${hint}\n`);
    process.exit(1);
  });
}

/** What a shell reports of a process that a signal has ended: 128 and the signal's number. */
const CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

const controller = new AbortController();
let stopped: number | null = null;
for (const [name, code] of Object.entries(CODES)) {
  process.on(name, () => {
    // the second time at once, whatever is not tidied up
    if (stopped !== null) process.exit(stopped);
    stopped = code;
    controller.abort(new Error('interrupted'));
  });
}

const code = await runProgram(process.argv.slice(2), processIo, controller.signal);
// what was finished in spite of a signal has not failed
process.exitCode = code !== 0 && stopped !== null ? stopped : code;
for (const name of Object.keys(CODES)) process.removeAllListeners(name);
