const FORM = `
  <h1>Espalier</h1>
  <p>A language model that runs in this page. Nothing that you type leaves it.</p>
  <form>
    <label for="model">Model</label>
    <input id="model" name="model" value="espalier:tiny" autocomplete="off" autocapitalize="off" spellcheck="false">
    <p class="hint">The small one in the package; or <code>owner/name</code> on the hub, an address, or files:</p>
    <input name="files" type="file" multiple aria-label="Files of a model">
    <label for="prompt">Prompt</label>
    <textarea id="prompt" name="prompt" rows="3">Once upon a time</textarea>
    <label for="tokens">Tokens</label>
    <input id="tokens" name="tokens" type="number" min="1" max="2048" value="120" inputmode="numeric">
    <div class="buttons">
      <button type="submit">Generate</button>
      <button type="button" name="stop" disabled>Stop</button>
    </div>
  </form>
  <progress max="1" value="0" hidden></progress>
  <p role="status"></p>
  <pre aria-live="polite"></pre>`;

/**
 * What the page does: opens a model once, generates from a prompt, shows progress and speed, and stops when asked to.
 *
 * @param {{ open: typeof import('espalier').open, models: Record<string, () => Promise<object>> }} given `models`: what names stand
 *   for that the page serves itself
 */
export function page({ open, models }) {
  document.querySelector('main').innerHTML = FORM;
  const form = document.querySelector('form');
  const { model: name, files, prompt, tokens, stop } = form.elements;
  const submit = form.querySelector('[type=submit]');
  const [bar, status, out] = ['progress', '[role=status]', 'pre'].map((selector) => document.querySelector(selector));

  let model = null;
  let opened = null; // what `model` was opened from
  let controller = null;

  const say = (text) => {
    status.textContent = text;
  };
  const show = (loaded, total) => {
    bar.hidden = false;
    bar.value = total ? loaded / total : 0;
  };
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

  async function openModel(signal) {
    const chosen = [...files.files];
    const wanted = chosen.map((file) => [file.name, file.size, file.lastModified]).join() || name.value.trim();
    if (model && wanted === opened) return;
    await model?.close();
    model = opened = null;
    let target = models[wanted] ? await models[wanted]() : wanted;
    if (chosen.length === 1 && chosen[0].name.endsWith('.gguf')) target = chosen[0];
    else if (chosen.length) target = Object.fromEntries(chosen.map((file) => [file.name, file]));
    model = await open(target, {
      signal,
      onDownload: ({ overall: { loaded, total } }) => {
        show(loaded, total);
        say(`downloading: ${megabytes(loaded)} of ${megabytes(total)}`);
      },
      onProgress: (loaded, total) => {
        show(loaded, total);
        say(`loading: ${megabytes(loaded)} of ${megabytes(total)}`);
      },
    });
    opened = wanted;
  }

  async function run() {
    controller = new AbortController();
    const { signal } = controller;
    submit.disabled = true;
    stop.disabled = false;
    try {
      say('opening …');
      await openModel(signal);
      bar.hidden = true;
      say('reading the prompt …');
      out.textContent = prompt.value;
      const generation = model.generate(prompt.value, { maxTokens: Number(tokens.value), signal });
      const start = performance.now();
      let count = 0;
      for await (const token of generation) {
        out.textContent += token.text;
        say(`${++count} tokens, ${((1000 * count) / (performance.now() - start)).toFixed(0)} a second`);
      }
      const { text, timings } = await generation.result();
      const threads = model.lanes === 1 ? '1 thread' : `${model.lanes} threads`;
      say(
        `${timings.promptTokens} tokens read at ${timings.prefillTokensPerSecond.toFixed(0)} a second, ` +
          `${timings.generatedTokens} written at ${timings.decodeTokensPerSecond.toFixed(0)} a second, ${threads}`,
      );
      return { text, lanes: model.lanes, isolated: crossOriginIsolated };
    } catch (error) {
      say(error?.code === 'E_ABORTED' ? 'stopped' : String(error));
      throw error;
    } finally {
      bar.hidden = true;
      submit.disabled = false;
      stop.disabled = true;
    }
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    run().catch(() => {}); // told above
  });
  stop.addEventListener('click', () => controller?.abort());

  // with ?model= it runs by itself, and tells the console how it went
  const { searchParams } = new URL(location.href);
  const given = searchParams.get('model');
  if (given === null) return;
  name.value = given.startsWith('/') ? new URL(given, location.href).href : given;
  tokens.value = searchParams.get('tokens') ?? tokens.value;
  run().then(
    (told) => console.log(JSON.stringify(told)),
    (error) => console.log(String(error)),
  );
}
