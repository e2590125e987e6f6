/** Begins a download as a process of its own, until it is ended from outside. Arguments: endpoint, folder of the cache, model. */
import { folderCache } from '../../src/runtime/cache/folder.ts';
import { openModelFiles } from '../../src/runtime/files/model-files.ts';

const [endpoint, folder, model] = process.argv.slice(2);
const files = await openModelFiles(model!, { hub: { endpoint }, cache: await folderCache(folder) });
await (await files.open('model.safetensors')).close();
console.log('done');
