import { NO_PASID, RESET_EFFECTS } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { ResetLab, slotTopology } from "./lab.ts";

const MS = 1_000_000;

/** One way to reset the card: how it begins, how long it holds it, and what ends it. */
interface Row {
  readonly name: string;
  readonly begin: (lab: ResetLab) => void;
  /** What software must do for it to end; nothing when it ends by itself. */
  readonly end?: (lab: ResetLab) => void;
  /** From there, how long until the function answers configuration reads, in ms. */
  readonly answersAfter: number;
  /** What the registers keep. */
  readonly keeps: "flr" | "sticky" | "nothing";
}

const rows: readonly Row[] = [
  {
    name: "FLR",
    begin: (lab) => lab.nic.writeConfig(lab.at(0x10, false) + 8, 2, 0x8020),
    answersAfter: 100,
    keeps: "flr",
  },
  {
    name: "AF FLR",
    begin: (lab) => lab.nic.writeConfig(lab.at(0x13, false) + 4, 1, 1),
    answersAfter: 100,
    keeps: "flr",
  },
  {
    name: "PM D3hot to D0",
    begin: (lab) => {
      const at = lab.at(0x01, false) + 4;
      lab.nic.writeConfig(at, 2, 0x103);
      lab.nic.writeConfig(at, 2, 0x100);
    },
    answersAfter: 10,
    keeps: "flr",
  },
  {
    name: "secondary bus reset",
    begin: (lab) => lab.secondaryBusReset(true),
    end: (lab) => lab.secondaryBusReset(false),
    answersAfter: 120,
    keeps: "sticky",
  },
  {
    name: "Link Disable",
    begin: (lab) => lab.linkDisable(true),
    end: (lab) => lab.linkDisable(false),
    answersAfter: 120,
    keeps: "sticky",
  },
  {
    name: "slot power",
    begin: (lab) => lab.slotPowerOff(true),
    end: (lab) => lab.slotPowerOff(false),
    answersAfter: 120,
    keeps: "nothing",
  },
  {
    name: "DPC",
    begin: (lab) => {
      lab.writePort(lab.portAt(0x1d, true) + 6, 2, 1);
      lab.dpc.report("fatal-message", 0x100);
    },
    end: (lab) => lab.writePort(lab.portAt(0x1d, true) + 8, 2, 1),
    answersAfter: 120,
    keeps: "sticky",
  },
  {
    name: "power off of the function",
    begin: (lab) => lab.nic.resetBegin("power-off"),
    end: (lab) => lab.nic.resetEnd(),
    answersAfter: 0,
    keeps: "nothing",
  },
];

describe.each(rows)("$name", ({ begin, end, answersAfter, keeps }) => {
  test("what it clears, and what it leaves", () => {
    const lab = new ResetLab();
    lab.enableEverything();
    expect(lab.state()).toEqual({
      busMaster: true,
      msi: true,
      ats: true,
      pri: true,
      pasid: true,
      payload: true,
      pmeEnable: true,
      cacheEnable: true,
      configLock: true,
      pending: true,
      atc: 1,
    });
    begin(lab);
    end?.(lab);
    lab.pass(answersAfter);
    expect(lab.state()).toEqual({
      busMaster: false,
      msi: false,
      ats: false,
      pri: false,
      pasid: false,
      payload: keeps === "flr",
      pmeEnable: keeps !== "nothing",
      cacheEnable: keeps === "flr",
      configLock: keeps === "flr",
      pending: false,
      atc: 0,
    });
    // The page request that waited is forgotten: the whole allocation is free again.
    lab.enableEverything();
    const request = { read: true, write: false, last: true, groupIndex: 2 };
    expect(lab.nic.pageRequest(0x66, NO_PASID, request).sent).toBe(true);
  });

  test("what is answered meanwhile: nothing", () => {
    const lab = new ResetLab();
    lab.enableEverything();
    expect(lab.invalidate()).toBe("delivered");
    begin(lab);
    expect(lab.nic.resetting).toBe(true);
    expect([lab.nic.readConfig(0, 4), lab.nic.readConfig(4, 2), lab.nic.readConfig(8, 1)]).toEqual([
      0xffffffff, 0xffff, 0xff,
    ]);
    const before = lab.nic.config.toBytes();
    lab.nic.writeConfig(4, 2, 6);
    expect(lab.nic.config.toBytes()).toEqual(before);
    expect(lab.nic.untranslatedWrite(0x55, 4, 7)).toMatchObject({ sent: false, reason: "in reset" });
    expect(lab.nic.translationRequest(0x55)).toMatchObject({ sent: false, reason: "in reset" });
    expect(lab.invalidate()).toBe("lost");
    lab.platform.scheduler.settle();
    // Neither the request that waited nor the one that came meanwhile is ever completed.
    expect(lab.iommu.completions).toEqual([]);
    expect(lab.word(lab.buffer, 4)).toBe(0);
  });

  test("how long it takes", () => {
    const lab = new ResetLab();
    begin(lab);
    if (end !== undefined) {
      lab.pass(500);
      expect(lab.nic.readConfig(4, 2)).toBe(0xffff);
      end(lab);
    }
    if (answersAfter > 0) {
      lab.pass(answersAfter - 1);
      expect(lab.nic.readConfig(4, 2)).toBe(0xffff);
      lab.pass(1);
    }
    expect(lab.nic.readConfig(4, 2)).not.toBe(0xffff);
    expect(lab.invalidate()).toBe("delivered");
    lab.platform.scheduler.settle();
    expect(lab.iommu.completions).toHaveLength(1);
  });
});

describe("No_Soft_Reset", () => {
  test("D3hot and back loses nothing when it is 1", () => {
    const lab = new ResetLab(slotTopology({ noSoftReset: true }));
    lab.enableEverything();
    const state = lab.state();
    const at = lab.at(0x01, false) + 4;
    lab.nic.writeConfig(at, 2, 0x103);
    // Configuration requests and messages are answered in D3hot; requests are not sent.
    expect(lab.nic.readConfig(at, 2) & 3).toBe(3);
    expect(lab.nic.untranslatedWrite(0x55, 4, 7)).toMatchObject({ sent: false, reason: "in D3hot" });
    expect(lab.invalidate()).toBe("delivered");
    lab.nic.writeConfig(at, 2, 0x100);
    expect(lab.nic.resetting).toBe(false);
    expect(lab.state()).toEqual(state);
    expect(lab.nic.untranslatedWrite(0x55, 4, 7).sent).toBe(true);
  });
});

describe("link status", () => {
  test.each([
    ["secondary bus reset", (lab: ResetLab, on: boolean) => lab.secondaryBusReset(on)],
    ["Link Disable", (lab: ResetLab, on: boolean) => lab.linkDisable(on)],
    ["slot power", (lab: ResetLab, on: boolean) => lab.slotPowerOff(on)],
  ])("%s: Link Active falls, Link Training rises, then Link Active again", (_name, set) => {
    const lab = new ResetLab();
    const recorder = lab.record();
    const status = (): number => lab.readPort(lab.portAt(0x10, false) + 0x12) & 0x2800;
    expect(status()).toBe(0x2000);
    set(lab, true);
    expect(status()).toBe(0);
    set(lab, false);
    expect(status()).toBe(0x800);
    lab.pass(20);
    expect(status()).toBe(0x2000);
    expect(lab.readPort(lab.portAt(0x10, false) + 0x1a) & 0x100).toBe(0x100);
    expect(recorder.events.flatMap((event) => (event.type === "reset:link" ? [event.state] : []))).toEqual([
      "down",
      "training",
      "up",
    ]);
  });

  test("two reasons: the link trains when the last one is gone", () => {
    const lab = new ResetLab();
    lab.linkDisable(true);
    lab.secondaryBusReset(true);
    expect(lab.link.holds).toEqual(["link-disable", "secondary-bus"]);
    lab.secondaryBusReset(false);
    expect(lab.link.state).toBe("down");
    lab.linkDisable(false);
    expect(lab.link.state).toBe("training");
  });

  test("Request Retry Status is shown where the root port says so, and reads as all ones elsewhere", () => {
    const lab = new ResetLab();
    lab.portBits(lab.portAt(0x10, false) + 0x1c, 0x10, true);
    lab.secondaryBusReset(true);
    expect(lab.nic.readConfig(0, 4)).toBe(0xffffffff);
    lab.secondaryBusReset(false);
    lab.pass(20);
    expect([lab.nic.readConfig(0, 4), lab.nic.readConfig(0, 2), lab.nic.readConfig(4, 2)]).toEqual([
      0xffff0001, 1, 0xffff,
    ]);
    lab.pass(100);
    expect(lab.nic.readConfig(0, 2)).toBe(0x1af4);
  });

  test("a surprise removal: nothing answers any more, and no register of the port brings it back", () => {
    const lab = new ResetLab();
    lab.enableEverything();
    lab.link.surpriseDown();
    expect(lab.readPort(lab.portAt(0x10, false) + 0x1a) & 0x48).toBe(0x08);
    expect(lab.nic.present()).toBe(false);
    expect(lab.invalidate()).toBe("lost");
    lab.secondaryBusReset(true);
    lab.secondaryBusReset(false);
    lab.pass(1000);
    expect(lab.link.state).toBe("down");
    expect(lab.nic.readConfig(0, 4)).toBe(0xffffffff);
  });
});

describe("the table", () => {
  test("each reset begins and ends as a trace event with its name", () => {
    const lab = new ResetLab();
    for (const kind of Object.keys(RESET_EFFECTS) as (keyof typeof RESET_EFFECTS)[]) {
      const recorder = lab.record();
      lab.nic.resetBegin(kind);
      lab.nic.resetEnd();
      expect(
        recorder.events.flatMap((event) => (event.type === "device:reset" ? [event.kind, event.phase] : [])),
      ).toEqual([kind, "begin", kind, "end"]);
      recorder.stop();
    }
    expect(lab.ms * MS).toBe(0);
  });
});
