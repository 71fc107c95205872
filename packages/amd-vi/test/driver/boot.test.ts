import { AMD_IOMMUS } from "@iommu-lab/amd-vi";
import { CONTROL } from "../registers.ts";
import { Digest } from "@iommu-lab/core";
import { describe, expect, test } from "vitest";
import { BASE, Lab, NIC, PLAIN } from "./lab.ts";

/** Writes to registers as `offset value`, the commands' doorbell aside. */
function registers(lab: Lab): string[] {
  return lab
    .traced("mmio:write")
    .map(
      ({ offset, value, high = 0 }) => `${offset.toString(16)} ${((BigInt(high) << 32n) | BigInt(value)).toString(16)}`,
    )
    .filter((line) => !/^2008 [1-9a-f]/.test(line));
}

describe("boot", () => {
  test("registers in the kernel's order, ending as the recorded kernel left Control", () => {
    const lab = new Lab({ ivhdFlags: 0xd1 }).boot();
    const table = lab.platform.mmio.read32(BASE).toString(16);
    const written = registers(lab);
    expect(written.slice(18)).toEqual([
      "18 2",
      "18 2",
      "18 2",
      "18 2",
      "18 402",
      "18 482",
      "18 200000000482",
      `0 ${table}`,
      expect.stringMatching(/^8 9000000[0-9a-f]{8}$/),
      "18 200000000482",
      "2000 0",
      "2008 0",
      "18 200000001482",
      "18 200000011482",
      "18 200000031482",
      "18 200000031483",
      expect.stringMatching(/^10 9000000[0-9a-f]{8}$/),
      "2010 0",
      "2018 0",
      "18 200000031487",
      "18 200000031487",
      "18 20000003148f",
      "18 20000003948f",
      expect.stringMatching(/^38 9000000[0-9a-f]{8}$/),
      "2030 0",
      "2038 0",
      "18 20000003d48f",
      "18 20000003f48f",
    ]);
    expect(lab.platform.mmio.read32(BASE + CONTROL)).toBe(0x3f48f);
  });

  test("unused entries block: V, TV, no permission, interrupts aborted", () => {
    const lab = new Lab().boot();
    expect(lab.dte(0x1f8)).toEqual([
      "0x0000000000000003",
      "0x0000000000000000",
      "0x0000000000000001",
      "0x0000000000000000",
    ]);
    expect(new Lab({ kernel: { cmdline: "intremap=off" } }).boot().dte(0x1f8)[2]).toBe("0x0000000000000000");
  });

  test("between enabling the unit and the last step, devices that were not probed pass untranslated", () => {
    const lab = new Lab();
    const target = lab.buffer();
    const seen = new Set<string>();
    lab.platform.trace.subscribe((event) => {
      if (event.type === "mmio:write" && event.offset === CONTROL) {
        seen.add(lab.endpoint(NIC).untranslatedWrite(target, 0, 1).status);
      }
      if (event.type === "table:write" && event.kind === "dte" && event.rid === PLAIN) {
        seen.add("probed");
      }
    });
    lab.boot();
    expect([...seen]).toEqual(["success", "probed"]);
  });

  test("without INVALIDATE_IOMMU_ALL every entry and every domain ID is invalidated by name", () => {
    const lab = new Lab({ invalidateAll: false }).boot();
    const opcodes = lab.traced("command:submit").map(({ opcode }) => opcode);
    const count = (name: string): number => opcodes.filter((one) => one === name).length;
    expect(count("INVALIDATE_IOMMU_ALL")).toBe(0);
    expect(count("INVALIDATE_INTERRUPT_TABLE")).toBe(2 * 0x400);
    expect(count("INVALIDATE_IOMMU_PAGES")).toBe(2 * 0x400);
    expect(lab.entry(PLAIN).iotlb).toBe(true);
  });

  test("a real EFR brings the guest virtual APIC log up too", () => {
    const lab = new Lab({ efr: 0x246577efa2254afan }).boot();
    expect(lab.traced("mmio:write").map(({ offset }) => offset)).toContain(0xe0);
    expect(lab.platform.mmio.read32(BASE + 0x2020) & 0x100).toBe(0x100);
  });

  test("an EFR that differs from the IVHD's is told", () => {
    const lab = new Lab({ efr: 0x29d3n, ivhdEfr: 0x50000000029d3n }).boot();
    expect(lab.traced("warn").map(({ where }) => where)).toEqual(["late_iommu_features_init"]);
  });

  test("two boots of one machine are the same, byte for byte", () => {
    const digest = (): string => {
      const { platform, recorder } = new Lab().boot();
      const into = new Digest();
      platform.memory.digest(into);
      for (const unit of platform.host.get(AMD_IOMMUS)) {
        unit.digest(into);
      }
      into.text(JSON.stringify(recorder.events));
      return into.value;
    };
    expect(digest()).toBe(digest());
  });

  test("every command has its submission as cause", () => {
    const lab = new Lab().boot();
    const submitted = new Set(lab.traced("command:submit").map(({ id }) => id));
    const completed = lab.traced("command:complete");
    expect(completed.length).toBe(submitted.size);
    expect(completed.every(({ submit, cause }) => submitted.has(submit) && cause === submit)).toBe(true);
  });
});
