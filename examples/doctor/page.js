/**
 * What the page does: asks the doctor, and shows what he says.
 *
 * @param {Pick<typeof import('espalier'), 'doctor' | 'diagnosisRows'>} given
 */
export function page({ doctor, diagnosisRows }) {
  const [again, copy] = ['again', 'copy'].map((name) => document.querySelector(`[name=${name}]`));
  const [status, list] = ['[role=status]', 'dl'].map((selector) => document.querySelector(selector));
  let found = null;

  async function ask() {
    for (const button of [again, copy]) button.disabled = true;
    status.textContent = 'measuring, for a few seconds …';
    try {
      found = await doctor();
      const parts = diagnosisRows(found).flatMap(([name, text]) => {
        const said = Object.assign(document.createElement('dd'), { textContent: text });
        return name === '' ? [said] : [Object.assign(document.createElement('dt'), { textContent: name }), said];
      });
      list.replaceChildren(...parts);
      status.textContent = '';
    } catch (error) {
      status.textContent = `${error.message} ${error.hint ?? ''}`;
    }
    again.disabled = false;
    copy.disabled = found === null;
  }

  again.addEventListener('click', ask);
  copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(JSON.stringify(found, null, 2));
    status.textContent = 'copied';
  });
  return ask();
}
