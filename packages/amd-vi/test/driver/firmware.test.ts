import type { IvrsFields } from "@iommu-lab/amd-vi";
import { IVHD_ENTRY, encodeFeatures, encodeIvrs } from "@iommu-lab/amd-vi";
import { describe, expect, test } from "vitest";
import { BASE, BARE, Lab, NIC, PLAIN } from "./lab.ts";

const short = (type: number, deviceId: number, setting = 0) =>
  ({ kind: "short", type, offset: 0, deviceId, setting }) as const;

function table(entries: Extract<IvrsFields["blocks"][number], { kind: "ivhd" }>["entries"], features = 0): Uint8Array {
  const efr = encodeFeatures({});
  const unit = {
    kind: "ivhd",
    type: 0x11,
    flags: 0x30,
    deviceId: 2,
    capabilityOffset: 0x40,
    base: BigInt(BASE),
  } as const;
  return encodeIvrs({ info: 0x203043, blocks: [{ ...unit, segment: 0, info: 0, features, efr, efr2: 0n, entries }] });
}

function groupOf(lab: Lab, rid: number): boolean {
  return lab.device(rid).group !== undefined;
}

describe("the table in memory is what the kernel knows", () => {
  test("firmware that leaves a device out: no group, and its DMA passes", () => {
    const entries = [short(IVHD_ENTRY.select, NIC), short(IVHD_ENTRY.select, BARE)];
    const lab = new Lab({ ivrs: table(entries) }).boot();
    expect([NIC, PLAIN, BARE].map((rid) => groupOf(lab, rid))).toEqual([true, false, true]);
  });

  test("firmware that names devices which nobody wired", () => {
    const all = [short(IVHD_ENTRY.start, 0), short(IVHD_ENTRY.end, 0x3ff)];
    const lab = new Lab({ ivrs: table(all), devices: [{ first: NIC, last: NIC }] }).boot();
    expect([NIC, PLAIN].map((rid) => groupOf(lab, rid))).toEqual([true, true]);
    // The kernel believes PLAIN to be blocked or translated; its requests reach no unit.
    expect(lab.endpoint(PLAIN).untranslatedWrite(lab.buffer(), 0, 1).status).toBe("success");
  });

  test("a wrong checksum: the kernel does without", () => {
    const bytes = table([short(IVHD_ENTRY.all, 0)]);
    bytes[9] = ((bytes[9] ?? 0) + 1) & 0xff;
    const lab = new Lab({ ivrs: bytes }).boot();
    expect(groupOf(lab, NIC)).toBe(false);
    expect(lab.traced("warn").map(({ what }) => what)).toContain("IVRS: ENODEV: the checksum of the IVRS is wrong");
  });

  test("HATDis: only guest tables are left", () => {
    const lab = new Lab({ ivrs: table([short(IVHD_ENTRY.all, 0)], 1) }).boot();
    expect(lab.entry(PLAIN)).toMatchObject({ guestValid: true, mode: 0 });
  });

  test("settings stay in the DTE", () => {
    const entries = [short(IVHD_ENTRY.start, 0), short(IVHD_ENTRY.end, 0x3ff), short(IVHD_ENTRY.select, PLAIN, 0xd7)];
    const lab = new Lab({ ivrs: table(entries) }).boot();
    expect(lab.entry(PLAIN)).toMatchObject({ passInterrupts: 7, passLint: 3, systemManagement: 1, write: true });
    expect(lab.entry(BARE)).toMatchObject({ passInterrupts: 0, passLint: 0, systemManagement: 0 });
  });

  test("an alias on the same bus gets the entry too", () => {
    const lab = new Lab({ aliases: [{ rid: PLAIN, alias: PLAIN | 1 }] }).boot();
    expect(lab.dte(PLAIN | 1)).toEqual(lab.dte(PLAIN));
    const other = new Lab({ aliases: [{ rid: PLAIN, alias: 0x1234 }] }).boot();
    expect(other.dte(PLAIN | 1)).not.toEqual(other.dte(PLAIN));
  });
});
