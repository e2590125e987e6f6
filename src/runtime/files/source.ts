/** Random access to the bytes of one file, whatever holds it: a path, a Blob, an array in memory. */
export interface ByteSource {
  /** For messages: a path, a URL or a given name. */
  readonly name: string;
  /** Bytes in all. */
  readonly size: number;
  /**
   * Fills the whole of `target` with the bytes from `offset` on.
   * @throws E_CHECKPOINT_TRUNCATED when the file ends before that; E_FILE_READ when the host fails.
   */
  readInto(offset: number, target: Uint8Array): Promise<void>;
  /** The state of the file as it is now, where the host tells. @throws E_FILE_READ */
  stamp?(): Promise<FileStamp>;
  close(): Promise<void>;
}

/** What a host knows of a file without reading it. */
export interface FileStamp {
  /** Which file it is, its size, and the times of its last changes. */
  readonly key: string;
  /** Size and time of the content alone, which renaming or removing the file does not change. */
  readonly content: string;
  /** Bytes. */
  readonly size: number;
  /** Whether a later change would show: times have a grain, and a file that was changed just now may be changed again within it. */
  readonly isSettled: boolean;
}

/** A model as the host gives it: one GGUF file, or a folder of files by name (`config.json`, `model.safetensors`, …). */
export interface ModelFiles {
  /** For messages. */
  readonly name: string;
  /** Names in the folder; for a single file, its own name. */
  readonly names: readonly string[];
  /** The file that the caller named, where a folder was opened by one of its files; else undefined. */
  readonly preferred?: string | undefined;
  /** Opens one file. @throws E_FILE_NOT_FOUND */
  open(name: string): Promise<ByteSource>;
}
