import { merge } from '../engine/grow/merge.ts';
import { type MergeOptions, mergeThereOptions } from '../engine/grow/options.ts';
import type { AdapterChoice } from '../model/adapter-options.ts';
import { defineCommand } from './shared/command.ts';
import { adapterArgument, jsonArgument, modelArgument } from './shared/common.ts';
import { optionFlags } from './shared/flags.ts';
import { formatBytes, formatDuration, noteLine } from './shared/format.ts';
import { Stages } from './shared/stages.ts';

const merging = optionFlags<MergeOptions>(mergeThereOptions, {
  out: { value: 'FOLDER', description: 'The folder to write, which must not exist or be empty', required: true },
  dtype: { value: 'TYPE', description: 'Of the weights that are written: f32, bf16, f16, or auto (as stored)' },
  maxShardBytes: { value: 'BYTES', description: 'Largest file of weights' },
  restart: { description: 'Throw away what another job has left unfinished in the folder' },
  lanes: { value: 'N', description: 'Threads that compute; auto: one for each core' },
  adapters: null, // --adapter
  hub: null, // the environment says it
  cache: null,
  transfer: null,
  signal: null,
  workerLocation: null,
  laneLocation: null,
  wasmLocation: null,
  onDownload: null,
  onProgress: null,
});

export const mergeCommand = defineCommand({
  meta: { name: 'merge', description: 'Write a model with LoRA adapters in its weights' },
  args: { model: modelArgument, adapter: { ...adapterArgument, required: true }, ...merging.args, json: jsonArgument },
  run: async ({ args, io, signal }) => {
    const options = merging.options(args);
    const stages = new Stages(['downloading', 'merging'], args.json);
    const started = performance.now();
    try {
      const { files: _, ...merged } = await merge(args.model, {
        ...options,
        adapters: args.adapter as readonly AdapterChoice[],
        signal,
        onDownload: ({ overall: { loaded, total } }) =>
          stages.update('downloading', loaded, total, formatBytes(loaded)),
        onProgress: ({ done, total }) => stages.update('merging', done, total, formatBytes(done)),
      });
      stages.end();
      if (args.json) {
        io.out(`${JSON.stringify(merged)}\n`);
        return;
      }
      for (const note of merged.notes) io.err(noteLine(note));
      const bytes = merged.sizes.reduce((sum, file) => sum + file.bytes, 0);
      const seconds = (performance.now() - started) / 1000;
      const what = `${merged.adapters.length} in ${merged.modules} linear layers`;
      io.out(`${options.out}: adapters merged: ${what}; ${formatBytes(bytes)} in ${formatDuration(seconds)}\n`);
    } finally {
      stages.end();
    }
  },
});
