import { EspalierError } from '../../errors.ts';
import { checkedText } from '../../options/texts.ts';
import { blobSource } from '../files/bytes.ts';
import { checkInside, folderIn, JOURNAL, type OutputFile, type OutputFolder } from './output.ts';

/** A folder in memory: where the host keeps no files, and for tests. After `release` it may be written again, by a later job. */
export interface MemoryOutput extends OutputFolder {
  /** The files by name. @throws E_ARGUMENT before `commit` */
  result(): Record<string, Blob>;
}

/** @param name for messages. @throws E_ARGUMENT */
export function memoryOutput(name: string): MemoryOutput {
  checkedText(name, 'The name');
  // Blobs of Blobs: a browser may move them out of memory, and joining them copies nothing there
  const files = new Map<string, Blob>();
  let done = false;
  const boot = crypto.randomUUID();
  const copy = (bytes: Uint8Array): Blob => new Blob([bytes.slice()]);
  return {
    name,
    boot,
    survived: (other) => other === boot,
    free: async () => null,
    file: async (file, keep) => {
      checkInside(file);
      const before = files.get(file) ?? new Blob([]);
      if (before.size < keep) {
        const hint = 'Start again from the beginning.';
        throw new EspalierError('E_FILE_WRITE', `${file} of ${name} is shorter than ${keep} bytes.`, hint);
      }
      return memoryFile(before.slice(0, keep), (content) => void files.set(file, content));
    },
    size: async (file) => files.get(file)?.size ?? null,
    readBytes: async (file) => {
      const content = files.get(file);
      return content ? new Uint8Array(await content.arrayBuffer()) : null;
    },
    writeBytes: async (file, bytes) => {
      checkInside(file);
      files.set(file, copy(bytes));
    },
    remove: async (file) => void files.delete(file),
    clear: async (keeps) => {
      for (const file of [...files.keys()]) if (!keeps(file)) files.delete(file);
    },
    files: async () => {
      const now = new Map([...files].filter(([file]) => file !== JOURNAL && folderIn(file) === null));
      return {
        name,
        names: [...now.keys()],
        open: async (file) => {
          const content = now.get(file);
          if (!content) {
            throw new EspalierError('E_FILE_NOT_FOUND', `There is no ${file} in ${name}.`, 'Check the name.');
          }
          return blobSource(file, content);
        },
      };
    },
    check: async () => {}, // nobody else reaches it
    commit: async () => {
      files.delete(JOURNAL);
      done = true;
    },
    discard: async () => files.clear(),
    release: async () => {},
    result: () => {
      if (!done) {
        throw new EspalierError('E_ARGUMENT', `${name} is not finished.`, 'Wait until what writes to it has ended.');
      }
      return Object.fromEntries(files);
    },
  };
}

function memoryFile(kept: Blob, store: (content: Blob) => void): OutputFile {
  let content = kept;
  store(content);
  return {
    get size() {
      return content.size;
    },
    write: async (bytes) => {
      content = new Blob([content, bytes.slice()]);
      store(content);
    },
    sync: async () => {},
    close: async () => {},
  };
}
