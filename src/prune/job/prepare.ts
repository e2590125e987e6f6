import { readRouted, type WrittenRouted } from '../../checkpoint/adapter/routed-write.ts';
import { TensorDigests } from '../../checkpoint/identity.ts';
import { openCheckpointFiles } from '../../checkpoint/open.ts';
import type { Checkpoint } from '../../checkpoint/types.ts';
import { openTrainingData, type TrainingData } from '../../datasets/training/data.ts';
import { SequenceEncoder } from '../../datasets/training/encode.ts';
import { type EncodedSet, encodeAll } from '../../datasets/training/encode-all.ts';
import { EspalierError } from '../../errors.ts';
import { ModelText } from '../../model/model-text.ts';
import { Tokenizer } from '../../model/text/tokenizer.ts';
import { named } from '../../named-errors.ts';
import { defined } from '../../options/defined.ts';
import { type ModelTarget, openModelFiles } from '../../runtime/files/model-files.ts';
import { type ForgetRetain, openForgetRetain } from '../data/open.ts';
import { domainsOfColumn } from '../domains/embed-examples.ts';
import { BATCH } from '../edit/options.ts';
import { checkedCut } from '../entropy/split.ts';
import type { PruneRecipe } from '../options.ts';
import { type PrunePlan, planOf, withEpochs } from './plan.ts';

/** A model that is looked at beside the one that forgets. */
export interface BesideModel {
  readonly target: ModelTarget;
  readonly checkpoint: Checkpoint;
  readonly digests: TensorDigests;
}

/** A job whose files are open and whose data are tokens, and of which nothing is on a device. */
export interface PreparedPrune {
  readonly target: ModelTarget;
  readonly checkpoint: Checkpoint;
  /** Whoever reads its tensors has them hashed. */
  readonly digests: TensorDigests;
  readonly plan: PrunePlan;
  readonly given: PruneRecipe;
  readonly data: ForgetRetain;
  readonly forget: EncodedSet;
  readonly retain: EncodedSet;
  readonly unseen: EncodedSet | null;
  readonly earlier: WrittenRouted | null;
  readonly base: BesideModel | null;
  readonly reference: BesideModel | null;
  /** Of all bytes of data, and of what they mean. */
  readonly digest: string;
  close(): Promise<void>;
}

/**
 * @param onReading shares of the data, or examples that were encoded: done and in all
 * @throws E_ARGUMENT, E_DATA_INVALID, E_ADAPTER, and what opening a model throws; no file stays open then
 */
export async function preparePrune(
  target: ModelTarget,
  options: PruneRecipe,
  onReading: (done: number, total: number) => void = () => {},
): Promise<PreparedPrune> {
  const { forget, retain, unseen, signal } = options;
  if (forget === undefined || retain === undefined) {
    throw new EspalierError(
      'E_ARGUMENT',
      `There is nothing to ${forget === undefined ? 'forget' : 'retain'}.`,
      'Give `forget` and `retain`: examples of both sides.',
    );
  }
  const open: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => void (await Promise.all(open.map((one) => one.close())));
  try {
    const checkpoint = await openCheckpointFiles(await openModelFiles(target, options), { signal });
    open.push(checkpoint);
    const { config } = checkpoint;
    // a cut that cannot be reached is found before data are read
    const { q, cut, percentile, fallback } = options;
    checkedCut(defined({ q, cut, percentile, fallback }), config.vocabSize);
    const earlier =
      options.earlier === undefined
        ? null
        : await named('earlier', readRouted(options.earlier, checkpoint, filesOf(options)));
    const early = planOf(options, { config, earlier });
    const spec = await checkpoint.tokenizer();
    const tokenizer = Tokenizer.create(spec);
    const text = new ModelText(checkpoint, spec, tokenizer);
    const beside = async (of: ModelTarget | undefined, what: string): Promise<BesideModel | null> => {
      if (of === undefined) return null;
      const files = openModelFiles(of, filesOf(options));
      const own = await named(
        what,
        files.then((given) => openCheckpointFiles(given, { signal })),
      );
      open.push(own);
      await checkSameTokens(own, checkpoint, tokenizer, what);
      return { target: of, checkpoint: own, digests: new TensorDigests(own) };
    };
    const base = await beside(options.base, 'base');
    const reference = await beside(options.reference, 'reference');
    const { format, columns, prompt, answer, chat, language, sourceLanguage, pieceLength, apart } = options;
    const reading = defined({ format, columns, prompt, answer, chat, language, sourceLanguage, pieceLength, signal });
    const data = await openForgetRetain(
      { forget, retain },
      { ...reading, ...defined({ apart }), onProgress: onReading },
    );
    open.push(data);
    const other = unseen === undefined ? null : await named('unseen', openTrainingData(unseen, reading));
    if (other) open.push(other);
    const { long, end, specialTokens } = options;
    const encoder = new SequenceEncoder(text, { ...defined({ long, end, specialTokens }), maxTokens: early.maxTokens });
    const encode = (of: TrainingData, what: string) =>
      named(what, encodeAll(of, encoder, { signal, onProgress: onReading }));
    const sets = { forget: await encode(data.forget, 'forget'), retain: await encode(data.retain, 'retain') };
    const { domains } = early;
    if (typeof domains === 'number' && domains > data.forget.train.length) {
      throw new EspalierError(
        'E_ARGUMENT',
        `domains is ${domains}, and there ${data.forget.train.length === 1 ? 'is one example' : `are ${data.forget.train.length} examples`} to forget.`,
        'Ask for at most as many sub-domains as there are examples.',
      );
    }
    const all = sets.forget.sequences.length + sets.retain.sequences.length;
    if (early.batch > Math.max(all, BATCH)) {
      throw new EspalierError(
        'E_ARGUMENT',
        `batch is ${early.batch}, and both sides have ${all} sequences.`,
        `Ask for at most ${Math.max(all, BATCH)}.`,
      );
    }
    const experts = await expertsOf(data.forget, early);
    const plan = withEpochs(early, options, { sequences: sets.forget.sequences.length, experts });
    return {
      ...{
        target,
        checkpoint,
        digests: new TensorDigests(checkpoint),
        plan,
        given: options,
        data,
        ...sets,
        earlier,
        base,
        reference,
      },
      unseen: other && (await encode(other, 'unseen')),
      digest: [data.digests.forget, data.digests.retain, ...(other ? [other.digest] : [])].join(' '),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** That share what is to be forgotten; while nobody knows how many sub-domains will be found, one. */
async function expertsOf(forget: TrainingData, { domains }: PrunePlan): Promise<number> {
  if (typeof domains === 'object') return (await domainsOfColumn(forget, domains.column)).count;
  return domains === 'auto' ? 1 : domains;
}

/** Of models and adapters beside the one that forgets: revision and file are that one's. */
function filesOf(options: PruneRecipe): PruneRecipe {
  const { revision: _, file: __, ...hub } = options.hub ?? {};
  return { ...options, hub };
}

/** @throws E_ARGUMENT where another model's tokens are not this one's */
async function checkSameTokens(own: Checkpoint, model: Checkpoint, tokenizer: Tokenizer, what: string): Promise<void> {
  const other = Tokenizer.create(await named(what, own.tokenizer()));
  const size = model.config.vocabSize;
  let differs = own.config.vocabSize === size ? -1 : size;
  for (let id = 0; id < size && differs < 0; id++) if (other.tokenText(id) !== tokenizer.tokenText(id)) differs = id;
  if (differs < 0) return;
  throw new EspalierError(
    'E_ARGUMENT',
    differs === size
      ? `The ${what} has a vocabulary of ${own.config.vocabSize}, and ${model.name} one of ${size}.`
      : `Token ${differs} of the ${what} is ${JSON.stringify(other.tokenText(differs))}, and of ${model.name} ${JSON.stringify(tokenizer.tokenText(differs))}.`,
    `Give a ${what} with the same tokenizer.`,
  );
}
