import { formatWord, maskWords } from "./mask.ts";
import type { LifecycleKind } from "./lifecycle.ts";
import type { TableWords } from "./state.ts";

/** The structures whose changes appear among lifecycle events. */
export type TableKind = Extract<LifecycleKind, "ste" | "cd0" | "context" | "pasid0" | "dte">;

/** Of these structures a trace shows the words themselves, and this many of them. */
const TRACED_WORDS: ReadonlyMap<TableKind, number> = new Map([
  ["ste", 2],
  ["cd0", 4],
  ["dte", 2],
]);

/**
 * A structure's value as one line that two machines can agree on. Of an STE, CD and DTE the masked words; of VT-d
 * entries, whose words the trace of a kernel does not show, what they do.
 *
 * @param words lowest first; as many as are known
 */
export function tableText(kind: TableKind, words: readonly bigint[]): string {
  if (kind === "context") {
    return contextText(words);
  }
  if (kind === "pasid0") {
    return pasidText(words);
  }
  return `${kind} ${maskWords(kind, words).slice(0, TRACED_WORDS.get(kind)).map(formatWord).join(",")}`;
}

/** VT-d §9.3 and §9.4: P is bit 0; a legacy entry has TT in bits 3:2 and 10b passes through. */
function contextText(words: readonly bigint[]): string {
  const low = words[0] ?? 0n;
  if ((low & 1n) === 0n) {
    return "context cleared";
  }
  return words.length === 2 && ((low >> 2n) & 3n) === 2n ? "context passes through" : "context translates";
}

/** PGTT, VT-d §9.6. */
const PASID_MODES = ["is reserved", "first stage", "second stage", "nested", "passes through"];

/** VT-d §9.6: P is bit 0, PGTT bits 8:6. */
function pasidText(words: readonly bigint[]): string {
  const low = words[0] ?? 0n;
  return (low & 1n) === 0n ? "PASID 0 cleared" : `PASID 0 ${PASID_MODES[Number((low >> 6n) & 7n)] ?? "is reserved"}`;
}

/** The texts of a device's structures as they stand, by kind. */
export function standingTexts(tables: TableWords | undefined): Map<LifecycleKind, string> {
  const kinds: readonly TableKind[] = ["ste", "cd0", "context", "pasid0", "dte"];
  const texts = new Map<LifecycleKind, string>();
  for (const kind of kinds) {
    const words = tables?.get(kind);
    if (words !== undefined) {
      texts.set(kind, tableText(kind, words));
    }
  }
  return texts;
}
