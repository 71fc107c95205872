import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { maskWord, maskWords, masksOf } from "@iommu-lab/truth";

const word = fc.bigInt(0n, 0xffff_ffff_ffff_ffffn);
const structures = ["ste", "cd0", "l1desc", "root", "context", "pasid_dir0", "pasid0", "dte"] as const;
const sizes: Readonly<Record<(typeof structures)[number], number>> = {
  ste: 8,
  cd0: 8,
  l1desc: 1,
  root: 2,
  context: 2,
  pasid_dir0: 1,
  pasid0: 8,
  dte: 4,
};

describe("masks", () => {
  it("compare flags and forget addresses and numbers", () => {
    // STE: V, Config 5, S1CDMax 1 with two different CD tables; EATS differs in the second pair.
    expect(maskWords("ste", [0x0800_0000_459b_e00bn])).toStrictEqual(maskWords("ste", [0x0800_0000_0001_000bn]));
    expect(maskWords("ste", [1n, 0x1000_00d6n])).not.toStrictEqual(maskWords("ste", [1n, 0xd6n]));
    expect(maskWords("ste", [0x0800_0000_459b_e00bn])).not.toStrictEqual(maskWords("ste", [0x1000_0000_459b_e00bn]));
    // CD: another ASID, another table.
    expect(maskWords("cd0", [0x0014_e204_c000_3510n, 0x45a4_f000n])).toStrictEqual(
      maskWords("cd0", [0x0023_e204_c000_3510n, 0x456f_0000n]),
    );
    expect(maskWords("cd0", [0x0014_e204_c000_3510n])).not.toStrictEqual(maskWords("cd0", [0x0014_e204_4000_3510n]));
  });

  it("tell the two forms of a VT-d context entry apart", () => {
    expect(maskWords("context", [0x401_a005n, 0x1202n])).toStrictEqual(maskWords("context", [0x507_e005n, 0x1d02n]));
    expect(maskWords("context", [0x401_a005n, 0x1202n])).not.toStrictEqual(
      maskWords("context", [0x401_a001n, 0x1202n]),
    );
    expect(maskWords("context", [0x3a5_1405n, 0x1202n, 0n, 0n])).not.toStrictEqual(
      maskWords("context", [0x3a5_1405n, 0x1d02n, 0n, 0n]),
    );
  });

  it("leave only GuestPagingMode of a DTE's interrupt quadword", () => {
    const flags = [0x6000_0000_03a2_5603n, 0x1_0000_0012n];
    expect(maskWords("dte", [...flags, 1n, 0n])).toStrictEqual(
      maskWords("dte", [...flags, 0x2000_0000_0416_a013n, 0n]),
    );
    expect(maskWords("dte", [...flags, 1n << 54n, 0n])).not.toStrictEqual(maskWords("dte", [...flags, 0n, 0n]));
    expect(maskWords("dte", [flags[0] ?? 0n, 0x12n])).not.toStrictEqual(maskWords("dte", flags));
  });

  it("see whether a pointer is there, not where it points", () => {
    expect(maskWords("pasid0", [0x49n, 2n, 0x3b9_4000n])).not.toStrictEqual(maskWords("pasid0", [0x49n, 2n, 0n]));
  });

  it("no bit is both a flag and part of a pointer, and masking twice changes nothing", () => {
    fc.assert(
      fc.property(fc.constantFrom(...structures), fc.array(word, { minLength: 8, maxLength: 8 }), (name, values) => {
        const cut = values.slice(0, sizes[name]);
        for (const mask of masksOf(name, cut.length)) {
          expect(mask.flags & mask.pointer).toBe(0n);
        }
        expect(maskWords(name, maskWords(name, cut))).toStrictEqual(maskWords(name, cut));
      }),
    );
  });

  it("any changed flag bit shows", () => {
    fc.assert(
      fc.property(fc.constantFrom(...structures), word, fc.nat(63), (name, value, bit) => {
        const mask = masksOf(name, sizes[name])[0] ?? { flags: 0n, pointer: 0n };
        fc.pre((mask.flags & (1n << BigInt(bit))) !== 0n);
        expect(maskWord(value ^ (1n << BigInt(bit)), mask)).not.toBe(maskWord(value, mask));
      }),
    );
  });

  it("compare nothing of a structure they do not know", () => {
    expect(maskWords("unknown", [5n])).toStrictEqual([0n]);
  });
});
