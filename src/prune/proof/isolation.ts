import type { Device } from '../../device/device.ts';
import { EspalierError } from '../../errors.ts';
import type { NamedTensor } from '../../model/named-weights.ts';
import { checked, filled } from '../../options/check.ts';
import { defaulting, type Schema, whole } from '../../options/rules.ts';
import { sha256 } from '../../runtime/files/hash.ts';
import type { Parameter } from '../../train/trainable.ts';
import type { FactorRole } from '../adapter/factors.ts';
import type { LossTokens } from '../edit/batches.ts';
import { tensorDigest } from './digest.ts';
import { type SequenceSource, type StepKind, takesFrom, trainedBy } from './kinds.ts';
import { type IsolationReceipt, isolationReceipt } from './receipt.ts';
import { type Counts, checkState, type IsolationState, type Moment, type Violation } from './state.ts';

/** What is trained, and what is not. */
export interface IsolationSubject {
  readonly device: Device;
  /** Of the trainable. */
  readonly parameters: readonly Parameter[];
  /** Of the factors, `AsymmetricFactors.roles`. */
  readonly roles: ReadonlyMap<string, FactorRole>;
  /** Every weight of the frozen model, `DecoderTrainable.baseWeights`. */
  readonly base: readonly NamedTensor[];
}

export interface IsolationOptions {
  /** Compares around each n-th step of a kind as well, 1: around all; 0: the first of each kind alone. Default 0. */
  readonly every?: number;
}

export const isolationOptions = {
  every: defaulting(whole(0), 0),
} as const satisfies Schema<IsolationOptions>;

/** A step that is to be recorded. */
export interface RecordedStep {
  readonly kind: StepKind;
  /** By sequence: where it is from, and which of its tokens the loss is over, `PruneStep.tokens`. */
  readonly sources: readonly SequenceSource[];
  readonly tokens: readonly LossTokens[];
}

interface Mutable {
  kinds: Record<string, { steps: number; tokens: Record<string, LossTokens>; gradient: FactorRole[] }>;
  moments: Moment[];
  verified: Record<string, Counts>;
  since: { factors: Record<string, number>; base: Record<string, number> };
  last: IsolationState['last'];
  violations: Violation[];
}

/**
 * Records, and as far as it is computed proves, that a pruning trains what it says and nothing else. Before and behind the first step of each
 * kind, at the switch of phases and at the end, digests of all factors are compared with those before: factors of a role that no step since then
 * was for have to be the same bits. The base is hashed at the beginning, the switch, the end and when a job goes on. After each step it looks
 * which parameters have a gradient. What was found otherwise is recorded, and thrown: nothing is to be built upon it.
 */
export class IsolationLedger {
  readonly #subject: IsolationSubject;
  readonly #factors: readonly (NamedTensor & { readonly role: FactorRole })[];
  readonly #every: number;
  #state: Mutable;

  private constructor(subject: IsolationSubject, options: IsolationOptions, state: Mutable) {
    this.#subject = subject;
    this.#every = filled(
      isolationOptions,
      checked<IsolationOptions>(isolationOptions, options, 'IsolationLedger'),
    ).every;
    this.#factors = subject.parameters.flatMap(({ name, value }) => {
      const role = subject.roles.get(name);
      return role === undefined ? [] : [{ name, tensor: value, role }];
    });
    this.#state = state;
  }

  /** Hashes all there is: before the first step. @throws E_ARGUMENT for options, E_ABORTED, E_OUT_OF_MEMORY */
  static async begin(
    subject: IsolationSubject,
    options: IsolationOptions = {},
    signal?: AbortSignal,
  ): Promise<IsolationLedger> {
    const last = { step: { factors: 0, base: 0 }, factors: {}, base: {} };
    const since = { factors: {}, base: {} };
    const empty = { kinds: {}, moments: [], verified: {}, since, last, violations: [] };
    const ledger = new IsolationLedger(subject, options, empty);
    await ledger.#moment('begin', signal);
    return ledger;
  }

  /**
   * Goes on where another process ended: what rested since the last comparison has to be what it was, in the files that it was read from, too.
   * @throws E_DATA_INVALID for the state of another adapter or base; E_STRAY_UPDATE; E_ARGUMENT, E_ABORTED, E_OUT_OF_MEMORY
   */
  static async from(
    state: IsolationState,
    subject: IsolationSubject,
    options: IsolationOptions = {},
    signal?: AbortSignal,
  ): Promise<IsolationLedger> {
    const { version: _, ...known } = structuredClone(state);
    const ledger = new IsolationLedger(subject, options, known as Mutable);
    const names = (list: readonly NamedTensor[]) => list.map(({ name }) => name);
    checkState(state, { factors: names(ledger.#factors), base: names(subject.base) });
    await ledger.#moment('resume', signal);
    return ledger;
  }

  /** As plain JSON, as of the last step that was recorded. */
  state(): IsolationState {
    return structuredClone({ version: 1, ...this.#state });
  }

  receipt(): IsolationReceipt {
    const shapes = this.#factors.map(({ name, tensor, role }) => ({ name, role, shape: tensor.shape }));
    return isolationReceipt(this.state(), shapes, this.#subject.base.length);
  }

  /** Steps that were recorded. */
  get steps(): number {
    return Object.values(this.#state.kinds).reduce((sum, { steps }) => sum + steps, 0);
  }

  /**
   * Runs a step and records it. One that throws is not recorded, and must not have changed anything; behind it nothing is aborted any more, so that
   * whoever hears of an abort knows that weights and record belong together.
   * @param run all of it: gradients, and the update by them
   * @throws E_STRAY_UPDATE for what was changed or had a gradient and should not, before `run` for a loss over tokens that are not the step's;
   *   E_ARGUMENT for a kind that the adapter has no factors for; what `run` throws
   */
  async step<T>(step: RecordedStep, run: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { kind } = step;
    const trained = trainedBy(kind);
    this.#check(step, trained);
    const before = this.#state.kinds[kind]?.steps ?? 0;
    const isCompared = before === 0 || (this.#every > 0 && before % this.#every === 0);
    // in front of the first of a kind also where no step was: what it trains might have been changed by somebody else
    if (before === 0 || (isCompared && sum(this.#state.since.factors) > 0)) await this.#compare('factors', signal);
    const result = await run();
    const gradient = this.#record(step);
    this.#stop(
      gradient
        .filter(({ role }) => role === null || !trained.includes(role))
        .map(({ role, name }) => ({ what: 'gradient', role, name, step: this.steps, since: this.steps - 1 })),
    );
    if (isCompared) await this.#compare('factors', undefined);
    return result;
  }

  /** All is hashed and compared between the phases, ... */
  async switchPhases(signal?: AbortSignal): Promise<void> {
    await this.#moment('switch', signal);
  }

  /** ... and behind the last step. @throws E_STRAY_UPDATE */
  async end(signal?: AbortSignal): Promise<void> {
    await this.#moment('end', signal);
  }

  /**
   * Behind `end`, when factors of an earlier look of Phase II stand on the device again: what no step of that phase was for has to be the same
   * bits still. Digests of this moment are those of what is written. @throws E_STRAY_UPDATE
   */
  async chosen(signal?: AbortSignal): Promise<void> {
    const kinds = Object.keys(this.#state.kinds) as StepKind[];
    // without a switch A learned all the time
    const isOver = (kind: StepKind): boolean =>
      kind === 'structure' && this.#state.moments.some(({ at }) => at === 'switch');
    await this.#moment('chosen', signal, new Set(kinds.filter((kind) => !isOver(kind)).flatMap(trainedBy)));
  }

  #check({ kind, sources, tokens }: RecordedStep, trained: readonly FactorRole[]): void {
    const missing = trained.find((role) => !this.#factors.some((own) => own.role === role));
    if (missing !== undefined || sources.length !== tokens.length) {
      throw new EspalierError(
        'E_ARGUMENT',
        missing === undefined
          ? `A step of ${tokens.length} sequences comes with ${sources.length} sources.`
          : `A step of kind ${kind} trains ${missing}, which the adapter has not.`,
        'Tell of the steps that are taken on this adapter.',
      );
    }
    const strange = sources.find((source, i) => !takesFrom(kind, source) && tokens[i]!.high + tokens[i]!.low > 0);
    if (strange === undefined) return;
    const { steps } = this;
    this.#stop([{ what: 'source', role: trained[0]!, name: strange, step: steps, since: steps }]);
  }

  /** @returns the parameters that have a gradient, the first of each role; null: none of the adapter's */
  #record({ kind, sources, tokens }: RecordedStep): { readonly role: FactorRole | null; readonly name: string }[] {
    const { kinds, since } = this.#state;
    const record = (kinds[kind] ??= { steps: 0, tokens: {}, gradient: [] });
    record.steps++;
    for (const [i, source] of sources.entries()) {
      const { high, low } = record.tokens[source] ?? { high: 0, low: 0 };
      record.tokens[source] = { high: high + tokens[i]!.high, low: low + tokens[i]!.low };
    }
    for (const counts of [since.factors, since.base]) counts[kind] = (counts[kind] ?? 0) + 1;
    const found = new Map<FactorRole | null, string>();
    for (const { name, gradient } of this.#subject.parameters) {
      const role = this.#subject.roles.get(name) ?? null;
      if (gradient !== null && !found.has(role)) found.set(role, name);
    }
    for (const role of found.keys()) if (role !== null && !record.gradient.includes(role)) record.gradient.push(role);
    return [...found].map(([role, name]) => ({ role, name }));
  }

  async #moment(at: Moment['at'], signal: AbortSignal | undefined, putBack?: ReadonlySet<FactorRole>): Promise<void> {
    await this.#compare('factors', signal, putBack);
    await this.#compare('base', signal);
    const { last, moments } = this.#state;
    const roles: Record<string, string> = {};
    for (const role of new Set(this.#factors.map((own) => own.role))) {
      roles[role] = await digestOf(
        this.#factors.filter((own) => own.role === role).map(({ name }) => [name, last.factors[name]!]),
      );
    }
    moments.push({ at, step: this.steps, base: await digestOf(Object.entries(last.base)), roles });
  }

  /** Hashes factors or base, and compares them with the time before. @param putBack roles that were changed for good @throws E_STRAY_UPDATE */
  async #compare(
    of: 'factors' | 'base',
    signal: AbortSignal | undefined,
    putBack: ReadonlySet<FactorRole> = new Set(),
  ): Promise<void> {
    const tensors: readonly (NamedTensor & { readonly role?: FactorRole })[] =
      of === 'base' ? this.#subject.base : this.#factors;
    const digests: Record<string, string> = {};
    for (const { name, tensor } of tensors) digests[name] = await tensorDigest(this.#subject.device, tensor, signal);
    const { last, since, verified } = this.#state;
    const known = last[of];
    const steps = this.steps;
    const between = since[of];
    const isFirst = Object.keys(known).length === 0;
    const mayChange = new Set([...putBack, ...Object.keys(between).flatMap((kind) => trainedBy(kind as StepKind))]);
    const violations = new Map<FactorRole | 'base', Violation>();
    for (const { name, role } of isFirst ? [] : tensors) {
      const own = role ?? 'base';
      if (known[name] === digests[name] || (role && mayChange.has(role)) || violations.has(own)) continue;
      violations.set(own, { what: 'changed', role: role ?? null, name, step: steps, since: last.step[of] });
    }
    for (const own of new Set(tensors.map(({ role }) => role ?? 'base'))) {
      // what may have changed was not compared, whatever it did
      if (isFirst || violations.has(own) || (own !== 'base' && mayChange.has(own))) continue;
      verified[own] = added(verified[own] ?? {}, between);
    }
    this.#state.last = { ...last, step: { ...last.step, [of]: steps }, [of]: digests };
    this.#state.since = { ...since, [of]: {} };
    this.#stop([...violations.values()]);
  }

  #stop(violations: readonly Violation[]): void {
    this.#state.violations.push(...violations);
    const [first] = violations;
    if (first) throw stray(first);
  }
}

const sum = (counts: Counts): number => Object.values(counts).reduce((all, own) => all + own, 0);

function added(a: Counts, b: Counts): Counts {
  const both: Record<string, number> = { ...a };
  for (const [kind, own] of Object.entries(b)) both[kind] = (both[kind] ?? 0) + own;
  return both;
}

const digestOf = (list: readonly (readonly [string, string])[]): Promise<string> => sha256(JSON.stringify(list));

function stray({ what, role, name, step, since }: Violation): EspalierError {
  const of = role === null ? 'the base' : `the factors ${role}`;
  const steps = step === since ? `behind step ${step}` : `in steps ${since + 1} to ${step}`;
  const texts = {
    changed: `${name} of ${of} changed ${steps}, none of which was for it.`,
    gradient: `${name} of ${of} had a gradient in step ${step}, which was not for it.`,
    source: `Step ${step + 1} would train ${of} on tokens of ${name}.`,
  } as const satisfies Record<Violation['what'], string>;
  return new EspalierError(
    'E_STRAY_UPDATE',
    texts[what],
    'Nothing of this run is isolated any more: begin anew, and look for what else writes to the weights.',
  );
}
