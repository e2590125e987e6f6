/**
 * A bundled page: a model from files that the reader chooses, or from the address behind `?model=`. Nothing has to be told about
 * workers and wasm: Vite finds them in the package.
 */
import { open } from 'espalier';

const out = document.querySelector('pre');

async function tell(target) {
  const model = await open(target);
  const generation = model.generate('Once upon a time', { maxTokens: 48 });
  out.textContent = 'Once upon a time';
  for await (const token of generation) out.textContent += token.text;
  const { text } = await generation.result();
  console.log(JSON.stringify({ text, lanes: model.lanes, isolated: crossOriginIsolated }));
  await model.close();
}

const report = (error) => {
  out.textContent = String(error);
  console.log(String(error));
};

document.querySelector('input').addEventListener('change', ({ target }) => {
  tell(Object.fromEntries([...target.files].map((file) => [file.name, file]))).catch(report);
});
const address = new URLSearchParams(location.search).get('model');
if (address) tell(new URL(address, location.href)).catch(report);
