/**
 * The page of ../page, bundled. Nothing has to be told about workers and wasm: Vite finds them in the package. The model of the
 * package is served with the app, because its files are imported by their addresses.
 */
import { open } from 'espalier';
import configuration from 'espalier/models/nano-base/config.json?url';
import weights from 'espalier/models/nano-base/model.safetensors?url';
import tokenizer from 'espalier/models/nano-base/tokenizer.json?url';
import tokenizerConfiguration from 'espalier/models/nano-base/tokenizer_config.json?url';
import { page } from '../../page/page.js';
import '../../page/style.css';

const files = {
  'config.json': configuration,
  'model.safetensors': weights,
  'tokenizer.json': tokenizer,
  'tokenizer_config.json': tokenizerConfiguration,
};

async function tiny() {
  const blobs = await Promise.all(
    Object.entries(files).map(async ([name, address]) => [name, await (await fetch(address)).blob()]),
  );
  return Object.fromEntries(blobs);
}

page({ open, models: { 'espalier:tiny': tiny } });
