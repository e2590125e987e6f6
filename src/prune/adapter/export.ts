import { exportRouted, readRouted, routerFiles } from '../../checkpoint/adapter/routed-write.ts';
import { openCheckpointFiles } from '../../checkpoint/open.ts';
import { beginAnew } from '../../checkpoint/write/begin-anew.ts';
import { EspalierError } from '../../errors.ts';
import { checked } from '../../options/check.ts';
import { listOf, real, type Schema } from '../../options/rules.ts';
import { type ModelTarget, openModelFiles } from '../../runtime/files/model-files.ts';
import { targetRule } from '../../runtime/files/target.ts';
import { type FilesOptions, filesOptions } from '../../runtime/hub/options.ts';
import { intoOutputAtOnce } from '../../runtime/output/into.ts';
import { output } from '../../runtime/output/options.ts';
import type { OutputFolder } from '../../runtime/output/output.ts';

export interface ExportOptions extends FilesOptions {
  /** The adapter, which stays as it is. */
  readonly adapter: ModelTarget;
  /** A folder that does not exist yet or is empty (Node, Deno, Bun), or an output of one's own, such as `memoryOutput`. */
  readonly out: string | URL | OutputFolder;
  /**
   * How strong each expert acts in `static`, in their order: their mean coefficients where they shall act, the strength in them. Default: the rule's
   * strength for each, what a gate gives that is sure.
   */
  readonly coefficients?: readonly number[];
}

export const exportOptions = {
  ...filesOptions,
  adapter: targetRule('The adapter', 'an adapter, as `open` takes it'),
  out: output,
  coefficients: listOf(real(-Number.MAX_VALUE), 1),
} as const satisfies Schema<ExportOptions>;

/** What was written, folder by folder. */
export interface ExportedAdapter {
  readonly experts: readonly { readonly name: string; readonly request: string; readonly folder: string }[];
  /** Of the experts, in `static`. */
  readonly coefficients: readonly number[];
  /** In bytes; names as they stand in the folder: `static/adapter_config.json`. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

/** The folder of what PEFT has no place for. */
const ROUTER = 'alter';

/**
 * Writes an adapter that forgets as folders of PEFT, which other programs load: `retain`, `forget-1` .. and `static`, and what routes them in `alter`
 * (`exportRouted`, `routerFiles`). `static` acts alike everywhere, and so forgets and keeps only about what the adapter does.
 * @param model that the adapter is for
 * @throws E_ARGUMENT for other than one coefficient an expert; E_ADAPTER, and what opening and writing throws. Nothing has its final name before all
 *   of it is written
 */
export async function exportAdapter(model: ModelTarget, given: ExportOptions): Promise<ExportedAdapter> {
  const options = checked<ExportOptions>(exportOptions, given, 'exportAdapter');
  const missing = (['adapter', 'out'] as const).find((name) => options[name] === undefined);
  if (missing) throw new EspalierError('E_ARGUMENT', `There is no ${missing}.`, 'Give `adapter` and `out`.');
  const { signal } = options;
  const checkpoint = await openCheckpointFiles(await openModelFiles(model, options), { signal });
  try {
    const { revision: _, file: __, ...hub } = options.hub ?? {};
    const adapter = await readRouted(options.adapter, checkpoint, { ...options, hub });
    const { experts, rule } = adapter;
    const coefficients = options.coefficients ?? experts.map(() => rule.strength);
    const folders = [...exportRouted(adapter, coefficients), [ROUTER, routerFiles(adapter, coefficients)] as const];
    return await intoOutputAtOnce(options.out, beginAnew, async (out) => {
      const files: { name: string; bytes: number }[] = [];
      for (const [folder, own] of folders) {
        for (const [name, bytes] of own) {
          await out.writeBytes(`${folder}/${name}`, bytes);
          files.push({ name: `${folder}/${name}`, bytes: bytes.length });
        }
      }
      return {
        experts: experts.map(({ name, request }, i) => ({ name, request, folder: `forget-${i + 1}` })),
        coefficients,
        files,
      };
    });
  } finally {
    await checkpoint.close();
  }
}
