import { readRouted, routedFiles, type WrittenRouted } from '../../checkpoint/adapter/routed-write.ts';
import { openCheckpointFiles } from '../../checkpoint/open.ts';
import { beginAnew } from '../../checkpoint/write/begin-anew.ts';
import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import { type Schema, words } from '../../options/rules.ts';
import { type ModelTarget, openModelFiles } from '../../runtime/files/model-files.ts';
import { targetRule } from '../../runtime/files/target.ts';
import { type FilesOptions, filesOptions } from '../../runtime/hub/options.ts';
import { intoOutputAtOnce } from '../../runtime/output/into.ts';
import { output } from '../../runtime/output/options.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';
import { withoutExperts } from '../gate/join-gates.ts';

export interface RollbackOptions extends FilesOptions {
  /** The adapter, which stays as it is. */
  readonly adapter: ModelTarget;
  /** What is taken back, by its name. */
  readonly request: string;
  /** A folder that does not exist yet or is empty (Node, Deno, Bun), or an output of one's own, such as `memoryOutput`. */
  readonly out: string | URL | OutputFolder;
}

export const rollbackOptions = {
  ...filesOptions,
  adapter: targetRule('The adapter', 'an adapter, as `open` takes it'),
  request: words,
  out: output,
} as const satisfies Schema<RollbackOptions>;

/**
 * An adapter without one of its requests: its experts, their rows of the gate, and the units that only these read. All other numbers are what they
 * were; with the last request gone the adapter is what it was before it.
 * @throws E_ARGUMENT for a request that is not there, and for the only one: without it there is nothing left
 */
export function withoutRequest(adapter: WrittenRouted, request: string): WrittenRouted {
  const { experts, factors, gate } = adapter;
  const taken = new Set(experts.flatMap((own, i) => (own.request === request ? [i] : [])));
  const names = [...new Set(experts.map((own) => own.request))];
  if (taken.size === 0) {
    throw new EspalierError(
      'E_ARGUMENT',
      `The adapter has no request ${JSON.stringify(request)}.`,
      `It has ${names.map((name) => JSON.stringify(name)).join(', ')}.`,
    );
  }
  if (taken.size === experts.length) {
    throw new EspalierError(
      'E_ARGUMENT',
      `${JSON.stringify(request)} is the only request of the adapter.`,
      'Open the model without the adapter: nothing of it is in the model.',
    );
  }
  const isKept = (_: unknown, i: number): boolean => !taken.has(i);
  return {
    ...adapter,
    experts: experts.filter(isKept),
    factors: factors.map(({ forget, ...rest }) => ({ ...rest, forget: forget.filter(isKept) })),
    gate: withoutExperts(gate, experts.length, taken),
  };
}

/**
 * Takes a request back: writes the adapter without it. Nothing is computed, and nothing of the others changes.
 * @param model that the adapter is for
 * @returns the requests that are left
 * @throws as `withoutRequest`; E_ADAPTER, and what opening and writing throws
 */
export async function rollback(model: ModelTarget, given: RollbackOptions): Promise<string[]> {
  const options = checked<RollbackOptions>(rollbackOptions, given, 'rollback');
  const missing = (['adapter', 'request', 'out'] as const).find((name) => options[name] === undefined);
  if (missing) throw new EspalierError('E_ARGUMENT', `There is no ${missing}.`, 'Give `adapter`, `request` and `out`.');
  const { signal } = options;
  const checkpoint = await openCheckpointFiles(await openModelFiles(model, options), { signal });
  try {
    const { revision: _, file: __, ...hub } = options.hub ?? {};
    const adapter = withoutRequest(await readRouted(options.adapter, checkpoint, { ...options, hub }), options.request);
    const files = routedFiles(adapter);
    return await intoOutputAtOnce(options.out, beginAnew, async (out) => {
      for (const [name, bytes] of files) await out.writeBytes(name, bytes);
      return [...new Set(adapter.experts.map(({ request }) => request))];
    });
  } finally {
    await checkpoint.close();
  }
}
