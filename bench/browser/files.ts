/** The model's files for the rivals, with what to do where one is missing. */
import { execFile } from 'node:child_process';
import { access, mkdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SCRIPT = fileURLToPath(new URL('../peers/q8_0.py', import.meta.url));

export type Found = { readonly path: string } | { readonly missing: string };

export const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** A Q8_0 file of the model: the one named, or in the folder for temporary files; made when it is not there. */
export async function q8File(model: string, named: string | undefined): Promise<Found> {
  const { size, mtimeMs } = await stat(model);
  const name = `${basename(model, '.gguf')}.${size}-${Math.trunc(mtimeMs)}.Q8_0.gguf`;
  const path = named ?? join(tmpdir(), 'espalier-bench', name);
  if (await exists(path)) return { path };
  await mkdir(dirname(path), { recursive: true });
  const python = process.env['ESPALIER_PYTHON'] ?? 'python3';
  try {
    await promisify(execFile)(python, [SCRIPT, model, path]);
    return { path };
  } catch (error) {
    const reason = ((error as { stderr?: string }).stderr || (error as Error).message).trim().split('\n').pop();
    return {
      missing: `wllama on Q8_0: name the file (ESPALIER_Q8_0 or --q8_0), or let it be made: pip install gguf numpy, and set ESPALIER_PYTHON to that python (${reason})`,
    };
  }
}

/** The f32 ONNX file of the model. */
export async function onnxFile(): Promise<Found> {
  const path = process.env['ESPALIER_ONNX'];
  const help =
    'set ESPALIER_ONNX to the f32 ONNX file (made by `python3 ../shared/tools/rival_onnx.py MODEL_DIR OUT_DIR`)';
  if (!path) return { missing: `onnxruntime-web: ${help}` };
  return (await exists(path)) ? { path } : { missing: `onnxruntime-web: ${path} is not there; ${help}` };
}

/** Why a rival's package cannot be used, or null. */
export async function packageMissing(name: string): Promise<string | null> {
  const path = fileURLToPath(new URL(`../peers/node_modules/${name}/package.json`, import.meta.url));
  return (await exists(path)) ? null : `${name} is not installed: npm ci --prefix bench/peers`;
}
