/** What an index file exports: values and types, each sorted; `rest` is what is no export list. */
export interface PublicFace {
  readonly values: readonly string[];
  readonly types: readonly string[];
  readonly rest: string;
}

export function faceOf(text: string): PublicFace;
export function publicFaces(): Readonly<Record<string, PublicFace>>;
