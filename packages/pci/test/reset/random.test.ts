import { NO_PASID } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ResetLab } from "./lab.ts";

/** Everything that can be done to the card, by name. */
const ACTIONS: Readonly<Record<string, (lab: ResetLab) => void>> = {
  flr: (lab) => lab.nic.writeConfig(lab.at(0x10, false) + 8, 2, 0x8000),
  "af flr": (lab) => lab.nic.writeConfig(lab.at(0x13, false) + 4, 1, 1),
  d3hot: (lab) => lab.nic.writeConfig(lab.at(0x01, false) + 4, 2, 3),
  d0: (lab) => lab.nic.writeConfig(lab.at(0x01, false) + 4, 2, 0),
  "bus reset on": (lab) => lab.secondaryBusReset(true),
  "bus reset off": (lab) => lab.secondaryBusReset(false),
  "link disable": (lab) => lab.linkDisable(true),
  "link enable": (lab) => lab.linkDisable(false),
  "power off": (lab) => lab.slotPowerOff(true),
  "power on": (lab) => lab.slotPowerOff(false),
  "dpc trigger": (lab) => lab.writePort(lab.portAt(0x1d, true) + 6, 2, 0x40),
  "dpc clear": (lab) => lab.writePort(lab.portAt(0x1d, true) + 8, 2, 1),
  enable: (lab) => lab.enableEverything(),
  dma: (lab) => void lab.nic.dmaWrite(0x55, 0, 1),
  "1 ms": (lab) => lab.pass(1),
  "60 ms": (lab) => lab.pass(60),
  "200 ms": (lab) => lab.pass(200),
};

/** Whether anything above keeps the card from answering. */
function isGone(lab: ResetLab): boolean {
  return lab.nic.resetting || lab.link.state !== "up";
}

test("whatever is done in whatever order: a function that is gone answers nothing, and comes back empty", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...Object.keys(ACTIONS)), { maxLength: 40 }), (names) => {
      const lab = new ResetLab();
      let resets = 0;
      const stop = lab.platform.trace.subscribe((event) => {
        if (event.type === "device:reset" && event.phase === "begin") {
          resets += 1;
        }
      });
      for (const name of names) {
        const before = resets;
        ACTIONS[name]?.(lab);
        if (resets > before) {
          expect([lab.nic.atc.size, lab.nic.atsEnabled]).toEqual([0, false]);
        }
        if (isGone(lab)) {
          expect(lab.nic.readConfig(4, 2)).toBe(0xffff);
          expect(lab.nic.untranslatedWrite(0x55, 4, 7, NO_PASID).sent).toBe(false);
          expect(lab.nic.translationRequest(0x55).sent).toBe(false);
          expect(lab.invalidate()).toBe("lost");
        }
        if (lab.link.holds.length > 0) {
          expect([lab.link.state, lab.nic.resetting]).toEqual(["down", true]);
        }
      }
      // Whatever was left on, software can end it.
      for (const name of ["bus reset off", "link enable", "power on", "dpc clear", "200 ms"]) {
        ACTIONS[name]?.(lab);
      }
      expect([lab.link.state, lab.link.holds, isGone(lab)]).toEqual(["up", [], false]);
      expect(lab.nic.readConfig(0, 2)).toBe(0x1af4);
      stop();
    }),
    { numRuns: 150 },
  );
});
