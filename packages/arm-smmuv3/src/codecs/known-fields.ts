import { type Field, type WordFields, type Words, getField, newWords, setField } from "@iommu-lab/core";

/** Field names of a structure whose content depends on a code. */
export type FieldTable = Readonly<Record<string, Field>>;

/** The fields with these names. */
export function decodeNamed(table: FieldTable, names: readonly string[], words: ArrayLike<number>): WordFields {
  return Object.fromEntries(
    names.flatMap((name) => {
      const field = table[name];
      return field === undefined ? [] : [[name, getField(words, field)]];
    }),
  );
}

/** The structure of some fields. Names that the table lacks, and values that are no numbers, set nothing. */
export function encodeNamed(table: FieldTable, count: number, fields: WordFields): Words {
  const words = newWords(count);
  for (const [name, value] of Object.entries(fields)) {
    const field = Object.hasOwn(table, name) ? table[name] : undefined;
    if (field !== undefined && typeof value === "number") {
      setField(words, field, value);
    }
  }
  return words;
}
