import type { Device } from '../../device/device.ts';
import type { AdapterChoice } from '../../model/adapter-options.ts';
import type { LocalModel } from '../../model/model.ts';
import { openWith } from '../../open-local.ts';
import { defined } from '../../options/defined.ts';
import type { ModelTarget } from '../../runtime/files/model-files.ts';

/** Opens a model on a device, in f32 as far as it is not quantised, does something with it, and closes it. @throws as `open` and `use` */
export async function withModel<T>(
  target: ModelTarget,
  options: {
    readonly device: Device;
    readonly adapters?: readonly AdapterChoice[] | undefined;
    readonly signal?: AbortSignal | undefined;
  },
  use: (model: LocalModel) => Promise<T>,
): Promise<T> {
  const { device, adapters = [], signal } = options;
  const own = { device, adapters, precision: 'exact' as const, ...defined({ signal }) };
  const model = await openWith(target, own, { withIdentity: false });
  try {
    return await use(model);
  } finally {
    model.close();
  }
}
