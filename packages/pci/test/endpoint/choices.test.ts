import type { TraceEvent } from "@iommu-lab/core";
import { type EndpointOptions, NO_PASID, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, nic } from "../support.ts";

function machineWith(ats: EndpointOptions["ats"]): Machine {
  const config = { ...nic, ...(ats === undefined ? {} : { ats }) };
  return new Machine(pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config } }] }));
}

function invalidate(machine: Machine, page: number, sizeLog2: number, pasid: number, itag: number = 0) {
  return machine.fabric.sendInvalidate(machine.iommu, NIC, itag, pasid, page, sizeLog2, false, 0);
}

function protocolErrors(events: readonly TraceEvent[]): string[] {
  return events.flatMap((event) => (event.type === "protocol:error" ? [event.what] : []));
}

/** Entries with and without a PASID at two pages. */
function filled(): Machine {
  const machine = new Machine();
  machine.setAts(true);
  machine.setPasid(true);
  for (const pasid of [NO_PASID, 1]) {
    for (const page of [0x10, 0x20]) {
      machine.iommu.map(pasid, page, { host: machine.buffer, read: true, write: true });
      machine.nic.translationRequest(page, pasid);
    }
  }
  return machine;
}

function left(machine: Machine): string[] {
  return machine.nic.atc.entries().map(({ page, pasid }) => `${page.toString(16)}/${pasid}`);
}

describe("an Invalidate Request without PASID", () => {
  test("takes every entry with a PASID, or those in its range, by the reading", () => {
    for (const [withoutPasid, rest] of [
      ["everything", ["20/-1"]],
      ["range", ["20/-1", "20/1"]],
    ] as const) {
      const machine = filled();
      machine.nic.choices.withoutPasid = withoutPasid;
      invalidate(machine, 0x10, 12, NO_PASID);
      machine.platform.scheduler.settle();
      expect(left(machine)).toEqual(rest);
    }
  });
});

describe("an Invalidate Request for less than the STU", () => {
  test("is rounded up or gets UR", () => {
    const machine = new Machine();
    machine.setAts(true, 4);
    machine.iommu.map(NO_PASID, 0x50, { host: 0x40000, read: true, write: true, sizeLog2: 16 });
    machine.nic.translationRequest(0x5f);
    machine.nic.choices.smallInvalidate = "UR";
    expect(invalidate(machine, 0x5f, 12, NO_PASID)).toBe("UR");
    expect(invalidate(machine, 0x50, 16, 9)).toBe("delivered");
    machine.platform.scheduler.settle();
    expect(machine.nic.atc.size).toBe(1);
    machine.nic.choices.smallInvalidate = "round-up";
    expect(invalidate(machine, 0x5f, 12, NO_PASID)).toBe("delivered");
    machine.platform.scheduler.settle();
    expect(machine.nic.atc.size).toBe(0);
  });
});

test("an Invalidate Request with ATS off gets a completion, or UR from a device that does so", () => {
  const machine = new Machine();
  expect(invalidate(machine, 0, 64, NO_PASID)).toBe("delivered");
  machine.platform.scheduler.settle();
  expect(machine.iommu.completions).toEqual([{ rid: NIC, itags: 1, count: 1 }]);
  machine.nic.choices.disabledInvalidate = "UR";
  expect(invalidate(machine, 0, 64, NO_PASID)).toBe("UR");
});

test("the ATC empties at Enable 1 to 0 already where the device does so", () => {
  const machine = filled();
  machine.setAts(false);
  expect(machine.nic.atc.size).toBe(4);
  machine.setAts(true);
  expect(machine.nic.atc.size).toBe(0);
  const other = filled();
  other.nic.choices.clearOnDisable = true;
  other.setAts(false);
  expect(other.nic.atc.size).toBe(0);
});

test("a small ATC loses its oldest entry and asks again", () => {
  const machine = filled();
  machine.nic.choices.atcCapacity = 4;
  machine.iommu.map(NO_PASID, 0x30, { host: machine.canary, read: true, write: true });
  machine.nic.dmaWrite(0x30, 0, 1);
  expect(left(machine)).toEqual(["20/-1", "10/1", "20/1", "30/-1"]);
  machine.iommu.seen.length = 0;
  expect(machine.nic.dmaWrite(0x10, 0, 1).status).toBe("success");
  expect(machine.iommu.seen).toHaveLength(2);
  expect(machine.nic.atc.size).toBe(4);
});

describe("the Invalidate Queue Depth", () => {
  test.each([1, 8, 32])("%i requests wait; one more is an error of the sender and is taken all the same", (depth) => {
    const machine = machineWith({ queueDepth: depth });
    const recorder = machine.record();
    for (let index = 0; index < depth; index += 1) {
      invalidate(machine, 0, 64, NO_PASID, index);
    }
    expect(protocolErrors(recorder.events)).toEqual([]);
    // At a depth of 32 every ITag is in use too.
    invalidate(machine, 0, 64, NO_PASID, depth % 32);
    expect(protocolErrors(recorder.events).at(-1)).toBe(
      `${depth + 1} Invalidate Requests wait, the queue holds ${depth}`,
    );
    machine.platform.scheduler.settle();
    expect(machine.iommu.completions).toHaveLength(depth + 1);
  });

  test("an ITag in use is an error of the sender", () => {
    const machine = new Machine();
    const recorder = machine.record();
    invalidate(machine, 0, 64, NO_PASID, 5);
    invalidate(machine, 0, 64, NO_PASID, 5);
    expect(protocolErrors(recorder.events)).toEqual(["ITag 5 is in use"]);
  });
});
