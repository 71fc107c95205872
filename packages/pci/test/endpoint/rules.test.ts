import { AT_MASK, AT_UNTRANSLATED, NO_PASID } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Machine, NIC } from "../support.ts";

const requests = [
  "untranslated-read",
  "untranslated-write",
  "translation",
  "translated-read",
  "translated-write",
  "dma-read",
  "dma-write",
  "msi",
] as const;
const events = ["ats", "bus-master", "pasid", "invalidate", "settle", "flr", "map", "unmap", "permit", "tb"] as const;
type Request = (typeof requests)[number];

/** Anything a device, its software or its IOMMU may do. */
const step = fc.record({
  what: fc.constantFrom(...requests, ...events),
  on: fc.boolean(),
  page: fc.integer({ min: 0x50, max: 0x53 }),
  pasid: fc.constantFrom(NO_PASID, 1),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function isRequest(what: Step["what"]): what is Request {
  return requests.some((one) => one === what);
}

interface Sent {
  readonly sent: boolean;
  readonly event: number;
}

const senders: Readonly<Record<Request, (machine: Machine, page: number, pasid: number) => Sent>> = {
  "untranslated-read": ({ nic }, page, pasid) => nic.untranslatedRead(page, 0, pasid),
  "untranslated-write": ({ nic }, page, pasid) => nic.untranslatedWrite(page, 0, 1, pasid),
  translation: ({ nic }, page, pasid) => nic.translationRequest(page, pasid),
  "translated-read": ({ nic, buffer }) => nic.translatedRead(buffer, 0),
  "translated-write": ({ nic, buffer }) => nic.translatedWrite(buffer, 0, 1),
  "dma-read": ({ nic }, page, pasid) => nic.dmaRead(page, 0, pasid),
  "dma-write": ({ nic }, page, pasid) => nic.dmaWrite(page, 0, 1, pasid),
  msi: ({ nic }, page) => nic.writeMsi(page, 0, 1),
};

function send(machine: Machine, { what, page, pasid }: Step): Sent | undefined {
  return isRequest(what) ? senders[what](machine, page, pasid) : undefined;
}

function act(machine: Machine, { what, on, page, pasid }: Step): void {
  const { nic } = machine;
  if (isRequest(what)) {
    return;
  }
  switch (what) {
    case "ats":
      machine.setAts(on);
      break;
    case "bus-master":
      machine.setBusMaster(on);
      break;
    case "pasid":
      machine.setPasid(on);
      break;
    case "invalidate":
      machine.fabric.sendInvalidate(machine.iommu, NIC, 1, pasid, on ? page : 0, on ? 12 : 64, false, 0);
      break;
    case "settle":
      machine.platform.scheduler.settle();
      break;
    case "flr": {
      const at = nic.config.findCapability(0x10) + 8;
      nic.writeConfig(at, 2, 0x8000);
      machine.run(
        (function* wait() {
          yield { kind: "sleep", ns: on ? 100_000_000 : 1 } as const;
        })(),
      );
      break;
    }
    case "map":
      machine.iommu.map(pasid, page, { host: machine.buffer, read: true, write: on });
      break;
    case "unmap":
      machine.iommu.unmap(pasid, page);
      break;
    case "permit":
      machine.iommu.ats = on;
      break;
    case "tb":
      machine.setAcs(0x08, on ? 2 : 0);
      break;
  }
}

function atsEnabled(machine: Machine): boolean {
  return machine.nic.atsEnabled;
}

describe("whatever happens", () => {
  test("every request that is sent has exactly one outcome, and one that is not sent has none", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const machine = new Machine();
        const recorder = machine.record();
        for (const one of steps) {
          const from = recorder.events.length;
          const outcome = send(machine, one);
          const sent = recorder.events.slice(from).filter(({ type }) => type === "tlp");
          const claimed = outcome ?? { sent: false, event: 0 };
          expect(sent.length > 0).toBe(claimed.sent);
          expect(claimed.event).toBe(sent.at(-1)?.id ?? 0);
          act(machine, one);
        }
        const results = recorder.events.filter((event) => event.type === "tlp:result").map((event) => event.tlp);
        const sent = recorder.events.filter((event) => event.type === "tlp").map((event) => event.id);
        expect(results.toSorted((a, b) => a - b)).toEqual(sent);
      }),
    );
  });

  test("an honest function sends AT=00 alone while Enable is 0, and no PASID while PASID Enable is 0", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const machine = new Machine();
        for (const one of steps) {
          const from = machine.iommu.seen.length;
          const enabled = atsEnabled(machine);
          const pasidEnabled =
            (machine.nic.config.read16(machine.nic.config.findExtendedCapability(0x1b) + 6) & 1) === 1;
          const master = (machine.nic.config.read16(4) & 4) !== 0;
          send(machine, one);
          act(machine, one);
          for (const seen of machine.iommu.seen.slice(from)) {
            expect(master).toBe(true);
            expect(enabled || (seen.flags & AT_MASK) === AT_UNTRANSLATED).toBe(true);
            expect(pasidEnabled || seen.pasid === NO_PASID).toBe(true);
          }
        }
      }),
    );
  });

  test("after an Invalidate Request for everything is completed, the ATC holds nothing that came before", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const machine = new Machine();
        machine.setAts(true);
        for (const one of steps) {
          send(machine, one);
          act(machine, one);
        }
        machine.platform.scheduler.settle();
        const before = machine.iommu.completions.length;
        const delivery = machine.fabric.sendInvalidate(machine.iommu, NIC, 0, NO_PASID, 0, 64, false, 0);
        machine.platform.scheduler.settle();
        expect(machine.iommu.completions.length - before).toBe(delivery === "delivered" ? 1 : 0);
        expect(machine.nic.atc.entries()).toEqual([]);
      }),
    );
  });

  test("an honest function never uses a page it has been told to forget", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const machine = new Machine();
        machine.setAts(true);
        for (const one of steps) {
          if (one.what !== "translated-read" && one.what !== "translated-write") {
            send(machine, one);
          }
          act(machine, one);
        }
        machine.iommu.unmap(NO_PASID, 0x50);
        machine.fabric.sendInvalidate(machine.iommu, NIC, 0, NO_PASID, 0x50, 12, false, 0);
        machine.platform.scheduler.settle();
        const from = machine.iommu.seen.length;
        const { status, sent } = machine.nic.dmaWrite(0x50, 0, 1);
        expect(sent && status === "success").toBe(false);
        expect(machine.iommu.seen.slice(from).every(({ flags }) => (flags & AT_MASK) !== 2)).toBe(true);
      }),
    );
  });
});
