import { hex } from "../sim/bits.ts";
import { InputError } from "../sim/errors.ts";
import type { LayoutCodec, LayoutFields, LayoutValue } from "./codec.ts";
import { type Words, bytesOfWords, hexWords, newWords, wordsOfBytes } from "./words.ts";

/** Fields of a structure of 64-bit words, as the vendor's own decoder gives them. */
export type WordFields = Readonly<Record<string, number | boolean | string>>;

/** How {@link wordCodec} reads and writes one structure. */
export interface WordCodecOptions {
  /** See {@link LayoutCodec.kind}. */
  readonly kind: string;
  /** See {@link LayoutCodec.title}. */
  readonly title: string;
  /** See {@link LayoutCodec.source}. */
  readonly source: string;
  /** Lengths taken, in 64-bit words. */
  readonly words: readonly number[];
  /** See {@link LayoutCodec.example}. */
  readonly example: string;
  /** The fields of a structure; every set of words is decodable, or an InputError says why not. */
  readonly decode: (words: Words) => WordFields;
  /**
   * The structure of some fields; absent ones are zero. Values have passed no check but that numbers are non-negative
   * integers: what does not come back from `decode` is refused by the codec.
   */
  readonly encode: (fields: WordFields, count: number) => Words;
  /** Sentences: what it means, what the hardware would do with it. */
  readonly meaning: (words: Words) => readonly string[];
}

/**
 * A {@link LayoutCodec} from a decoder and an encoder over 64-bit words. Bits that belong to no field are kept as
 * `reserved` (the words, hexadecimal, lowest first). A field that does not come back as it was given is refused: its
 * name is unknown, or its value does not fit.
 *
 * @example
 * ```ts
 * const codec = wordCodec({ kind: "ste", title: "Stream table entry", source: "SMMUv3 §5.2", words: [8], example, decode, encode, meaning });
 * codec.encode(codec.decode(bytes).fields); // the same bytes
 * ```
 */
export function wordCodec(options: WordCodecOptions): LayoutCodec {
  const { kind, title, source, words: counts, example } = options;
  const sizes = counts.map((count) => count * 8);
  return {
    kind,
    title,
    source,
    sizes,
    example,
    decode(bytes, file) {
      if (!sizes.includes(bytes.length)) {
        throw new InputError(
          `${kind}: ${bytes.length} bytes given, expected ${sizes.join(" or ")}`,
          file === undefined ? {} : { file },
        );
      }
      const words = wordsOfBytes(bytes);
      const fields = options.decode(words);
      const known = options.encode(fields, words.length / 2);
      const rest = words.map((word, index) => word ^ (known[index] ?? 0));
      return {
        fields: { ...shown(fields), ...(rest.some((word) => word !== 0) ? { reserved: hexWords(rest) } : {}) },
        meaning: options.meaning(words),
      };
    },
    encode(given) {
      const { reserved, ...rest } = given;
      const fields = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, taken(kind, name, value)]));
      const rests = reserved === undefined ? undefined : reservedWords(kind, reserved);
      const count = rests === undefined ? encodedLength(options, fields) : rests.length / 2;
      if (!counts.includes(count)) {
        throw new InputError(`${kind}: reserved has ${count} words, expected ${counts.join(" or ")}`);
      }
      const words = options.encode(fields, count);
      refuseWhatDoesNotComeBack(kind, fields, options.decode(words));
      return bytesOfWords(rests === undefined ? words : words.map((word, index) => word ^ (rests[index] ?? 0)));
    },
  };
}

function encodedLength(options: WordCodecOptions, fields: WordFields): number {
  return options.encode(fields, options.words[0] ?? 1).length / 2;
}

function shown(fields: WordFields): LayoutFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      typeof value === "number" && value > Number.MAX_SAFE_INTEGER ? `0x${BigInt(value).toString(16)}` : value,
    ]),
  );
}

function taken(kind: string, name: string, value: LayoutValue): number | boolean | string {
  if (typeof value === "boolean") {
    return value;
  }
  if (typeof value === "string") {
    return /^0x[0-9a-f]{1,16}$/i.test(value) ? Number(value) : value;
  }
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) {
    return value;
  }
  throw new InputError(
    `${kind}: field ${name} is ${JSON.stringify(value)}, expected a non-negative integer, true, false or a string`,
  );
}

function reservedWords(kind: string, value: LayoutValue): Words {
  const list = Array.isArray(value) ? (value as readonly LayoutValue[]) : [];
  const words = newWords(list.length);
  for (const [index, item] of list.entries()) {
    if (typeof item !== "string" || !/^0x[0-9a-f]{1,16}$/i.test(item)) {
      throw new InputError(`${kind}: reserved[${index}] is ${JSON.stringify(item)}, expected 64 bits such as "0x1"`);
    }
    const word = BigInt(item);
    words[index * 2] = Number(word & 0xffffffffn);
    words[index * 2 + 1] = Number(word >> 32n);
  }
  if (list.length === 0) {
    throw new InputError(
      `${kind}: reserved is ${JSON.stringify(value)}, expected a list of 64-bit words such as ["0x1"]`,
    );
  }
  return words;
}

function refuseWhatDoesNotComeBack(kind: string, given: WordFields, back: WordFields): void {
  for (const [name, value] of Object.entries(given)) {
    const got = back[name];
    if (got === undefined) {
      throw new InputError(
        `${kind}: no field ${JSON.stringify(name)}, expected one of ${Object.keys(back).join(", ")}`,
      );
    }
    if (got !== value) {
      const shownValue = typeof value === "number" ? hex(value) : JSON.stringify(value);
      throw new InputError(
        `${kind}: field ${name} cannot hold ${shownValue} (it would read back as ${JSON.stringify(got)})`,
      );
    }
  }
}
