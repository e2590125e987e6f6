/**
 * What the types of this package need of the host's, as little as can be: a program whose `lib` has no DOM and that takes no types of Node's
 * compiles against it all the same. Where those are there, these merge with them and add nothing. The build puts a reference to this file
 * into each face.
 */
interface AbortSignal {
  readonly aborted: boolean;
}

interface Blob {
  readonly size: number;
  readonly type: string;
}

interface URL {
  href: string;
}

// biome-ignore lint/suspicious/noEmptyInterface: only its name is used
interface MessagePort {}

declare namespace WebAssembly {
  // biome-ignore lint/suspicious/noEmptyInterface: only its name is used
  interface Memory {}
  // biome-ignore lint/suspicious/noEmptyInterface: only its name is used
  interface Module {}
}

interface SymbolConstructor {
  readonly asyncDispose: unique symbol;
}
