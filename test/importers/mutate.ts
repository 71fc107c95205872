/** Numbers from a seed: the same seed gives the same inputs on every machine (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 to `below` - 1. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  }

  /** One of a list that is not empty. */
  of<Item>(list: readonly Item[]): Item {
    const item = list[this.below(list.length)];
    if (item === undefined) {
      throw new Error("nothing to choose from");
    }
    return item;
  }
}

/** Words that parsers look for, and numbers at the edges of what fits. */
const words: readonly string[] = [
  '\n|\r\n|\t|\0|\u{feff}|\u{2028}| |:|[|{|"|,|-|+|ff|0|<?>',
  "00:|10: ff|fffffff0: 00|ffff:ff:1f.7 A|00:20.0 B|00000000:00:00.0|00:00.0 C\n|zz:00.0",
  "\tCapabilities: [fc] Express (v2) Root Port (Slot+)|\tCapabilities: [ffc v1] Access Control Services",
  "\tCapabilities: [00] Null|\tBus: primary=ff, secondary=00, subordinate=ff|Count=1/0|99999999999999999999",
  '"bdf"|null|[[[[[[[[|1e999|-1|{"devices":|true|\\ud800',
].flatMap((line) => line.split("|"));

const edges: readonly number[] = [0x00, 0x01, 0x0f, 0x10, 0x3f, 0x40, 0x7f, 0x80, 0xfc, 0xfe, 0xff];

/** Bytes with nothing behind them. */
export function randomBytes(chance: Chance, most: number): Uint8Array {
  return Uint8Array.from({ length: chance.below(most + 1) }, () => chance.below(256));
}

/** One to six changes to a valid input: bits, edge values, words, cuts, repetitions, a piece of another input. */
export function mutate(chance: Chance, seed: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  let bytes: Uint8Array = seed.slice();
  for (let changes = 1 + chance.below(6); changes > 0; changes -= 1) {
    bytes = change(chance, bytes, others);
  }
  return bytes;
}

function change(chance: Chance, bytes: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  const at = chance.below(bytes.length + 1);
  const length = chance.below(Math.min(bytes.length - at, 64) + 1);
  switch (chance.below(8)) {
    case 0:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << chance.below(8));
      return bytes;
    case 1:
      bytes[at] = chance.of(edges);
      return bytes;
    case 2:
      return splice(bytes, at, length, new Uint8Array(0));
    case 3:
      return bytes.slice(0, at);
    case 4:
      return splice(bytes, at, 0, bytes.slice(at, at + length));
    case 5:
      return splice(bytes, at, chance.below(2) === 0 ? 0 : length, new TextEncoder().encode(chance.of(words)));
    case 6: {
      const other = chance.of(others);
      const from = chance.below(other.length + 1);
      return splice(bytes, at, length, other.slice(from, from + chance.below(256)));
    }
    default:
      // A field of four bytes, such as a length, at an edge.
      bytes.fill(chance.of(edges), at, at + 1 + chance.below(4));
      return bytes;
  }
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const result = new Uint8Array(bytes.length - remove + insert.length);
  result.set(bytes.subarray(0, at));
  result.set(insert, at);
  result.set(bytes.subarray(at + remove), at + insert.length);
  return result;
}
