import { autoDevice } from '../../device/auto.ts';
import type { Work } from '../../device/crossover.ts';
import type { Device } from '../../device/device.ts';
import { openDevice } from '../../device/open-device.ts';
import { EspalierError } from '../../errors.ts';
import type { LocalModel } from '../../model/model.ts';
import { openWith } from '../../open-local.ts';
import { defined } from '../../options/defined.ts';
import type { Methods } from '../line/answers.ts';
import type { Holdings, Shelf } from '../line/holdings.ts';
import { lentLanes } from '../line/lent-lanes.ts';
import type { CallerPort, Remote } from '../line/port.ts';
import { RunAhead } from '../line/run-ahead.ts';
import type { DeviceFacts, EngineCalls, Finish, StreamStart } from './protocol.ts';

/** The functions of an engine worker, and its models, for those of a worker that does more. */
export interface EngineService {
  readonly methods: Methods<EngineCalls>;
  readonly models: Shelf<LocalModel>;
}

/**
 * One device, its models, and the calls and streams that run on them.
 * @param withIdentity whether models are asked for their identity
 * @param auto what `device: 'auto'` is for some work
 */
export function engineService(
  caller: Remote<CallerPort>,
  holdings: Holdings,
  { withIdentity, auto = autoDevice }: { readonly withIdentity: boolean; readonly auto?: typeof autoDevice },
): EngineService {
  const models = holdings.shelf<LocalModel>(closed);
  let device: Device;
  let lanes = 1;
  let memoryLimit: number | undefined;
  /** Where `auto` is decided: by the first model that is opened. */
  let deciding: Promise<Device> | null = null;
  const facts = (): DeviceFacts => ({ description: device.description, lanes });

  const decided = async (work: Work): Promise<Device> => {
    if ((await auto(work)) === 'wasm') return device;
    // nobody asked for a GPU: where it does not come, the CPU computes
    const gpu = await openDevice('webgpu', defined({ memoryLimit })).catch(() => null);
    if (gpu === null) return device;
    device.close();
    device = gpu;
    lanes = 1;
    return gpu;
  };
  const deviceFor = (work: Work): Promise<Device> => {
    deciding ??= decided(work);
    return deciding;
  };

  const methods: Methods<EngineCalls> = {
    create: async (_, { device: kind, lanes: wanted, wasmLocation, ...options }) => {
      device = await openDevice(kind, {
        ...options,
        ...(wasmLocation === undefined ? {} : { wasmLocation: new URL(wasmLocation) }),
        ...(wanted > 1 ? { lanes: wanted, spawnLane: lentLanes(caller) } : {}),
      });
      lanes = wanted;
      memoryLimit = options.memoryLimit;
      if (kind !== 'auto') deciding = Promise.resolve(device);
      return facts();
    },

    stats: () => {
      const promptBytes = models.all.reduce((sum, own) => sum + own.promptBytes, 0);
      return { ...device.stats(), models: models.all.length, generations: holdings.streams, promptBytes, lanes };
    },

    open: async ({ id, live }, target, options) => {
      const local = await openWith(target, { ...options, ...live }, { withIdentity, deviceFor });
      models.put(id, local, []);
      const { name, config, eosIds, notes, rounded, adapters, tokenizer } = local;
      const { bosId, eosId, vocabSize } = tokenizer;
      return { model: id, name, config, bosId, eosId, eosIds, vocabSize, notes, rounded, adapters, device: facts() };
    },

    close: (_, number) => holdings.close(number),

    encode: (_, model, text, options) => models.get(model).encode(text, options),
    encodeChat: (_, model, messages, options) => models.get(model).encodeChat(messages, options),
    decode: (_, model, ids, options) => models.get(model).tokenizer.decode(ids, options),
    score: ({ live }, model, text, options) => models.get(model).score(text, { ...options, ...live }),
    scoreBatch: ({ live }, model, texts, options) => models.get(model).scoreBatch(texts, { ...options, ...live }),
    embed: ({ live }, model, input, options) => models.get(model).embed(input, { ...options, ...live }),

    next: ({ owners }, stream, start) => {
      const begin = start && (() => new RunAhead((signal) => generationOf(models.get(start.model), start, signal)));
      return holdings.next(stream, owners, begin);
    },

    stop: (_, stream) => holdings.stop(stream),
  };
  return { methods, models };
}

function generationOf(model: LocalModel, { prompt, options }: StreamStart, signal: AbortSignal) {
  const generation = model.generate(prompt, { ...options, signal });
  const finish = async (): Promise<Finish> => {
    const { finishReason, timings } = await generation.result();
    return { finishReason, timings };
  };
  return { tokens: generation, finish };
}

function closed(): EspalierError {
  return new EspalierError('E_DISPOSED', 'The model is closed.', 'Open it again.');
}
