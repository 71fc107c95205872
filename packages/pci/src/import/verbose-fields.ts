import type { LineRule, NumberForm } from "./verbose-rule.ts";

const SPEEDS: readonly string[] = ["", "2.5", "5", "8", "16", "32", "64"];

/** Writes into `fields` what one line says by its rule. Texts and rules decide about nothing else; unknown words are passed over. */
export function readLine(line: string, rule: Omit<LineRule, "label">, fields: Record<string, number>): void {
  if (rule.flags !== undefined) {
    readFlags(line, rule.flags, fields);
  }
  for (const { pattern, fields: keys } of rule.values ?? []) {
    const match = pattern.exec(line);
    if (match === null) {
      continue;
    }
    for (const [index, [key, form]] of keys.entries()) {
      set(fields, key, numberOf(match[index + 1] ?? "", form));
    }
  }
}

function readFlags(line: string, flags: Readonly<Record<string, string>>, fields: Record<string, number>): void {
  // Where a line has a word twice, the first is the flag: the second is in a list of its own, such as PME(D0+,D1-).
  const seen = new Set<string>();
  for (const token of line.split(/[\s,;()]+/)) {
    const sign = token.at(-1);
    const word = token.slice(0, token.at(-2) === ":" ? -2 : -1);
    const key = sign === "+" || sign === "-" ? flags[word] : undefined;
    if (key !== undefined && !seen.has(word)) {
      seen.add(word);
      fields[key] = sign === "+" ? 1 : 0;
    }
  }
}

/** Sets a field; `name*8` means that the text shows 8 times the field, `name+1` that it shows one more. */
function set(fields: Record<string, number>, key: string, value: number | undefined): void {
  const match = /^(.*)([*+])(\d)$/.exec(key);
  const by = Number(match?.[3] ?? 1);
  const shown = match === null || value === undefined ? value : match[2] === "*" ? value / by : value - by;
  if (shown !== undefined && Number.isInteger(shown) && shown >= 0) {
    fields[match?.[1] ?? key] = shown;
  }
}

/** A number as the text writes it; undefined when it is none. */
function numberOf(text: string, form: NumberForm): number | undefined {
  switch (form) {
    case "hex":
      return Number.parseInt(text.replaceAll("-", ""), 16);
    case "ofFour":
      // 4 does not fit into two bits: it is written as 0.
      return Number(text) % 4;
    case "log2":
      return exponent(Number(text));
    case "payload":
      return exponent(Number(text) / 128);
    case "speed": {
      const speed = SPEEDS.indexOf(text);
      return speed > 0 ? speed : undefined;
    }
    case "flag":
      return text === "+" ? 1 : 0;
    case "letter":
      return (text.codePointAt(0) ?? 0x40) - 0x40;
    default:
      return Number(text);
  }
}

function exponent(value: number): number | undefined {
  const found = Math.log2(value);
  return Number.isInteger(found) ? found : undefined;
}
