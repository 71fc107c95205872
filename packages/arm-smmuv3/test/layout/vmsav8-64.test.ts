import { PROT_MMIO, PROT_NOEXEC, PROT_PRIV, PROT_READ, PROT_WRITE, type Word64, hex64 } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { vmsav8_64, vmsav8_64Process } from "../../src/layout/vmsav8-64.ts";

const RW = PROT_READ | PROT_WRITE;

function leaf(address: number, prot: number): string {
  const out: Word64 = { lo: 0, hi: 0 };
  vmsav8_64.leafEntry(1, address, prot, out);
  return hex64(out.lo, out.hi);
}

describe("stage-1 descriptors", () => {
  it.each([
    ["RW, cached", 0x123456000, RW, "0x0000000123456f47"],
    ["read-only", 0x123456000, PROT_READ, "0x0000000123456fc7"],
    ["doorbell", 0x20003000, PROT_WRITE | PROT_NOEXEC | PROT_MMIO, "0x0060000020003e4b"],
    ["privileged", 0x123456000, RW | PROT_PRIV, "0x0000000123456f07"],
  ])("%s", (_what, address, prot, word) => {
    expect(leaf(address, prot)).toBe(word);
  });

  it("to a table", () => {
    const out: Word64 = { lo: 0, hi: 0 };
    vmsav8_64.tableEntry(2, 0x880201000, out);
    expect(hex64(out.lo, out.hi)).toBe("0x0000000880201003");
    expect(vmsav8_64.isTable(2, out.lo, out.hi)).toBe(true);
    expect(vmsav8_64.isTable(1, out.lo, out.hi)).toBe(false);
    expect(vmsav8_64.isTable(2, 0xf45, 0)).toBe(false);
  });

  it.each([vmsav8_64, vmsav8_64Process])("$name gives back address and permissions", (format) => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 36 - 1 }), fc.boolean(), fc.boolean(), (page, write, noExecute) => {
        const prot = PROT_READ | (write ? PROT_WRITE : 0) | (noExecute ? PROT_NOEXEC : 0);
        const out: Word64 = { lo: 0, hi: 0 };
        format.leafEntry(1, page * 4096, prot, out);
        expect(format.present(1, out.lo, out.hi)).toBe(true);
        expect(format.address(1, out.lo, out.hi)).toBe(page * 4096);
        expect(format.protection(1, out.lo, out.hi)).toBe(prot);
      }),
    );
  });
});
