import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import type { Device, Precision } from '../../src/device/device.ts';
import { Decoder } from '../../src/model/decoder.ts';
import { LocalModel } from '../../src/model/model.ts';
import { Tokenizer } from '../../src/model/text/tokenizer.ts';
import { loadWeights } from '../../src/model/weights.ts';
import { inContext, tinyTarget } from '../model/tiny.ts';

/** One token for each letter, so that texts have as many tokens as characters. */
const LETTERS = [...'Ġabcdefghijklmnopqrstuvwxyz.,:;'];

/** The fixtures' random models have no tokenizer: this one makes a `LocalModel` of any of them. `bos`: whether texts begin with token 0. */
export async function tinyModel(
  name: string,
  device: Device,
  options: {
    readonly bos?: boolean;
    readonly precision?: Precision;
    readonly maxPositions?: number;
    readonly slidingWindow?: number;
  } = {},
): Promise<LocalModel> {
  const spec = {
    tokenizerJson: {
      added_tokens: [{ id: 0, content: '<|end|>', special: true }],
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      decoder: { type: 'ByteLevel' },
      model: {
        type: 'BPE',
        vocab: Object.fromEntries([['<|end|>', 0], ...LETTERS.map((letter, i) => [letter, i + 1])]),
        merges: [],
      },
    },
    tokenizerConfig: { bos_token: '<|end|>', eos_token: '<|end|>', add_bos_token: options.bos ?? false },
    chatTemplate: null,
  };
  const opened = await openCheckpoint(await tinyTarget(name));
  try {
    const { config } = inContext(name, opened);
    const maxPositions = options.maxPositions ?? config.maxPositions;
    const slidingWindow = options.slidingWindow ?? config.slidingWindow;
    const checkpoint: Checkpoint = { ...opened, config: { ...config, maxPositions, slidingWindow } };
    const decoder = new Decoder(
      device,
      checkpoint.config,
      await loadWeights(device, opened),
      options.precision ?? 'exact',
    );
    return new LocalModel(checkpoint, spec, Tokenizer.create(spec), decoder, false, name);
  } finally {
    await opened.close();
  }
}
