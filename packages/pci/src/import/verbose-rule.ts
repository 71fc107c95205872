/** How a number is written in the text. */
export type NumberForm = "decimal" | "ofFour" | "hex" | "log2" | "payload" | "speed" | "flag" | "letter";

/** A pattern with one group for each field. */
export interface ValueRule {
  /** What the line must have. */
  readonly pattern: RegExp;
  /** Field of each group, and the form of its number. */
  readonly fields: readonly (readonly [key: string, form: NumberForm])[];
}

/** What a line says, by the words it begins with; the lines behind it that begin with no such words belong to it. */
export interface LineRule {
  /** First words, without the colon. */
  readonly label: string;
  /** Fields of words that are followed by + or -. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Fields of numbers. */
  readonly values?: readonly ValueRule[];
}

/** What the text of one capability says. */
export interface CapabilityRules {
  /** Of its first line. */
  readonly title?: Omit<LineRule, "label">;
  /** Of the lines behind it. */
  readonly lines: readonly LineRule[];
}

/** A rule from a pattern and the fields of its groups. */
export function value(pattern: RegExp, ...fields: readonly (readonly [string, NumberForm])[]): ValueRule {
  return { pattern, fields };
}

/** Prefixes the keys of flags with the register's name. */
export function of(register: string, words: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(words).map(([word, field]) => [word, `${register}.${field}`]));
}
