import { AT_MASK, AT_TRANSLATED, AT_TRANSLATION_REQUEST, AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, ROOT_PORT } from "../support.ts";

const PAGE = 0x55;

function mapped(): Machine {
  const machine = new Machine();
  machine.iommu.map(NO_PASID, PAGE, { host: machine.buffer, read: true, write: true });
  return machine;
}

function types(machine: Machine): number[] {
  return machine.iommu.seen.map(({ flags }) => flags & AT_MASK);
}

function filled(): Machine {
  const machine = mapped();
  machine.setAts(true);
  machine.nic.translationRequest(PAGE);
  return machine;
}

function invalidate(machine: Machine): void {
  machine.fabric.sendInvalidate(machine.iommu, NIC, 3, NO_PASID, PAGE, 12, false, 0);
}

function flr(machine: Machine): void {
  const at = machine.nic.config.findCapability(0x10) + 8;
  machine.nic.writeConfig(at, 2, machine.nic.readConfig(at, 2) | 0x8000);
}

/** What any function with ATS must do, one line for each check. */
const checks: readonly (readonly [string, () => void])[] = [
  [
    "E=0, DMA: AT=00 only",
    () => {
      const machine = mapped();
      machine.nic.dmaWrite(PAGE, 0, 1);
      machine.nic.dmaRead(PAGE, 0);
      machine.nic.translationRequest(PAGE);
      expect(types(machine)).toEqual([AT_UNTRANSLATED, AT_UNTRANSLATED]);
    },
  ],
  [
    "E=1, a Translation Request gets UR: AT=00, none until E toggles",
    () => {
      const machine = mapped();
      machine.setAts(true);
      machine.iommu.ats = false;
      machine.nic.dmaWrite(PAGE, 0, 1);
      machine.iommu.ats = true;
      machine.nic.dmaWrite(PAGE, 0, 2);
      machine.setAts(false);
      machine.setAts(true);
      machine.nic.dmaWrite(PAGE, 0, 3);
      expect(types(machine)).toEqual([
        AT_TRANSLATION_REQUEST,
        AT_UNTRANSLATED,
        AT_UNTRANSLATED,
        AT_TRANSLATION_REQUEST,
        AT_TRANSLATED,
      ]);
    },
  ],
  [
    "E=1, a Translation Request gets R=W=0: not cached; Page Request or AT=00, the function's choice",
    () => {
      const machine = mapped();
      machine.setAts(true);
      machine.iommu.unmap(NO_PASID, PAGE);
      machine.nic.dmaWrite(PAGE, 0, 1);
      expect(types(machine)).toEqual([AT_TRANSLATION_REQUEST, AT_UNTRANSLATED]);
      expect(machine.nic.atc.size).toBe(0);
      machine.nic.choices.onDenied = "page-request";
      const pri = machine.nic.config.findExtendedCapability(0x13);
      machine.nic.writeConfig(pri + 12, 4, 1);
      machine.nic.writeConfig(pri + 4, 2, 1);
      machine.nic.dmaWrite(PAGE, 0, 1);
      expect(machine.iommu.pageRequests).toHaveLength(1);
    },
  ],
  [
    "an Invalidate Request while a Translated write of the page is queued: the write leaves first, then the completion",
    () => {
      const machine = filled();
      const recorder = machine.record();
      machine.nic.inFlight.hold();
      machine.nic.queue.write(PAGE, 0, 7);
      invalidate(machine);
      machine.platform.scheduler.settle();
      expect(machine.iommu.completions).toEqual([]);
      machine.nic.inFlight.release();
      machine.platform.scheduler.settle();
      const kinds = recorder.events.flatMap((event) => (event.type === "tlp" ? [event.kind] : []));
      expect(kinds).toEqual(["invalidate-request", "translated-write", "invalidate-completion"]);
    },
  ],
  [
    "E 1 to 0 to 1: a miss",
    () => {
      const machine = filled();
      machine.setAts(false);
      machine.setAts(true);
      expect(machine.nic.atc.lookup(PAGE, NO_PASID)).toBeUndefined();
    },
  ],
  [
    "FLR: a miss, and E=0",
    () => {
      const machine = filled();
      flr(machine);
      expect(machine.nic.atc.lookup(PAGE, NO_PASID)).toBeUndefined();
      expect(machine.nic.atsEnabled).toBe(false);
    },
  ],
  [
    "an Invalidate Request during FLR: no completion",
    () => {
      const machine = filled();
      flr(machine);
      invalidate(machine);
      machine.run(
        (function* wait() {
          yield { kind: "sleep", ns: 200_000_000 } as const;
        })(),
      );
      expect(machine.nic.resetting).toBe(false);
      expect(machine.iommu.completions).toEqual([]);
    },
  ],
  [
    "an Invalidate Request with E=0: a completion, CC=1",
    () => {
      const machine = mapped();
      invalidate(machine);
      machine.platform.scheduler.settle();
      expect(machine.iommu.completions).toEqual([{ rid: NIC, itags: 8, count: 1 }]);
    },
  ],
  [
    "a port with TB=1: Translation Requests and Translated requests are ACS violations and go no further",
    () => {
      const machine = filled();
      machine.setAcs(ROOT_PORT, 2);
      machine.iommu.seen.length = 0;
      expect(machine.nic.translationRequest(PAGE).status).toBe("acs");
      expect(machine.nic.translatedWrite(machine.buffer, 0, 9).status).toBe("acs");
      expect(machine.iommu.seen).toEqual([]);
      expect(machine.word(machine.buffer, 0)).toBe(0);
    },
  ],
];

describe("behaviour checks", () => {
  test.each(checks)("%s", (_name, check) => {
    expect.hasAssertions();
    check();
  });
});
