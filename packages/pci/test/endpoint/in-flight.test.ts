import type { TraceEvent } from "@iommu-lab/core";
import { AT_MASK, AT_TRANSLATED, AT_UNTRANSLATED, NO_PASID, REQUEST_WRITE } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC } from "../support.ts";

const PAGE = 0x55;

/** A page in the ATC, and all traffic classes held. */
function held(): Machine {
  const machine = new Machine();
  machine.iommu.map(NO_PASID, PAGE, { host: machine.buffer, read: true, write: true });
  machine.iommu.map(NO_PASID, PAGE + 1, { host: machine.canary, read: true, write: true });
  machine.setAts(true);
  machine.nic.translationRequest(PAGE);
  machine.nic.inFlight.hold();
  return machine;
}

function invalidate(machine: Machine, page: number = PAGE, itag: number = 3): void {
  machine.fabric.sendInvalidate(machine.iommu, NIC, itag, NO_PASID, page, 12, false, 0);
}

function settle(machine: Machine): void {
  machine.platform.scheduler.settle();
}

function wait(machine: Machine, ns: number): void {
  machine.run(
    (function* sleep() {
      yield { kind: "sleep", ns } as const;
    })(),
  );
}

function kinds(events: readonly TraceEvent[]): string[] {
  return events.flatMap((event) => (event.type === "tlp" ? [event.kind] : []));
}

describe("a queued write", () => {
  test("leaves in the function's own step, Translated as it was decided when it began", () => {
    const machine = held();
    machine.nic.inFlight.release();
    const request = machine.nic.queue.write(PAGE, 0, 5);
    expect(request).toMatchObject({ kind: "write", state: "in flight" });
    expect(machine.word(machine.buffer, 0)).toBe(0);
    expect(machine.nic.ready()).toBe(true);
    settle(machine);
    expect(request).toMatchObject({ state: "done", status: "success" });
    expect(machine.word(machine.buffer, 0)).toBe(5);
    expect(machine.iommu.seen.at(-1)?.flags).toBe(AT_TRANSLATED | REQUEST_WRITE);
  });

  test("writes of one class leave in order, another class overtakes", () => {
    const machine = held();
    machine.nic.queue.write(PAGE, 0, 1, { trafficClass: 1 });
    machine.nic.queue.write(PAGE, 0, 2, { trafficClass: 1 });
    machine.nic.queue.write(PAGE, 4, 3, { trafficClass: 2 });
    machine.nic.inFlight.release(2);
    settle(machine);
    expect([machine.word(machine.buffer, 0), machine.word(machine.buffer, 4)]).toEqual([0, 3]);
    machine.nic.inFlight.release(1);
    machine.nic.step();
    expect(machine.word(machine.buffer, 0)).toBe(1);
    settle(machine);
    expect(machine.word(machine.buffer, 0)).toBe(2);
  });

  test("is dropped with its cause when the function may not send any more, or is reset", () => {
    const machine = held();
    const [first, second] = [machine.nic.queue.write(PAGE, 0, 1), machine.nic.queue.write(PAGE, 0, 2)];
    machine.nic.inFlight.release();
    machine.setBusMaster(false);
    machine.nic.step();
    expect(first).toMatchObject({ state: "dropped", reason: "Bus Master Enable is 0" });
    machine.nic.reset("conventional");
    expect(second).toMatchObject({ state: "dropped", reason: "reset" });
    expect(machine.word(machine.buffer, 0)).toBe(0);
    expect(machine.nic.inFlight.length).toBe(0);
  });

  test("a traffic class is 0 to 7", () => {
    expect(() => held().nic.queue.write(PAGE, 0, 1, { trafficClass: 8 })).toThrow(/traffic class 8/);
  });
});

describe("an Invalidate Completion", () => {
  test("leaves after the Translated write that used the entry", () => {
    const machine = held();
    const recorder = machine.record();
    machine.nic.queue.write(PAGE, 0, 5);
    invalidate(machine);
    settle(machine);
    expect(machine.nic.atc.size).toBe(0);
    expect(machine.iommu.completions).toEqual([]);
    machine.nic.inFlight.release();
    settle(machine);
    expect(kinds(recorder.events)).toEqual(["invalidate-request", "translated-write", "invalidate-completion"]);
    expect(machine.iommu.completions).toEqual([{ rid: NIC, itags: 8, count: 1 }]);
    expect(machine.word(machine.buffer, 0)).toBe(5);
  });

  test("overtakes it in a function that does not keep the order", () => {
    const machine = held();
    machine.nic.obeys.ordering = false;
    machine.nic.queue.write(PAGE, 0, 5);
    invalidate(machine);
    settle(machine);
    expect(machine.iommu.completions).toHaveLength(1);
    machine.nic.inFlight.release();
    settle(machine);
    // The write reaches the page after the IOMMU was told that nothing can.
    expect(machine.word(machine.buffer, 0)).toBe(5);
  });

  test("does not wait for an Untranslated write, nor for one of another page", () => {
    const machine = held();
    machine.nic.translationRequest(PAGE + 1);
    machine.nic.queue.write(PAGE + 1, 0, 5);
    machine.nic.obeys.untranslatedOnly = true;
    machine.iommu.map(NO_PASID, PAGE + 2, { host: machine.buffer, read: true, write: true, untranslatedOnly: true });
    machine.nic.queue.write(PAGE + 2, 0, 6);
    invalidate(machine);
    invalidate(machine, PAGE + 2, 4);
    settle(machine);
    expect(machine.iommu.completions.map(({ itags }) => itags)).toEqual([8, 16]);
    expect(machine.nic.inFlight.length).toBe(2);
  });

  test("comes once in each class in which such writes wait, and says how many", () => {
    const machine = held();
    machine.nic.queue.write(PAGE, 0, 1, { trafficClass: 1 });
    machine.nic.queue.write(PAGE, 4, 2, { trafficClass: 5 });
    machine.nic.queue.write(PAGE, 8, 3, { trafficClass: 5 });
    invalidate(machine);
    settle(machine);
    machine.nic.inFlight.release(5);
    settle(machine);
    expect(machine.iommu.completions).toEqual([{ rid: NIC, itags: 8, count: 2 }]);
    machine.nic.inFlight.release(1);
    settle(machine);
    expect(machine.iommu.completions).toHaveLength(2);
  });

  test("waits for a Translated read whose data are on their way", () => {
    const machine = held();
    const read = machine.nic.queue.read(PAGE, 0, { trafficClass: 3 });
    invalidate(machine);
    settle(machine);
    expect(machine.iommu.completions).toEqual([]);
    machine.nic.inFlight.release(0);
    settle(machine);
    expect(machine.iommu.completions).toEqual([]);
    machine.nic.inFlight.release();
    settle(machine);
    expect(read).toMatchObject({ state: "done", value: 0 });
    expect(machine.iommu.completions).toHaveLength(1);
  });

  test("queued writes that Bus Master stops do not hold it", () => {
    const machine = held();
    machine.nic.queue.write(PAGE, 0, 5);
    machine.setBusMaster(false);
    invalidate(machine);
    machine.nic.inFlight.release();
    settle(machine);
    expect(machine.iommu.completions).toHaveLength(1);
    expect(machine.word(machine.buffer, 0)).toBe(0);
  });
});

describe("a Translation Request on its way", () => {
  test("brings its answer into the ATC when it ends", () => {
    const machine = held();
    const request = machine.nic.queue.translation(PAGE + 1);
    expect(machine.nic.atc.lookup(PAGE + 1, NO_PASID)).toBeUndefined();
    machine.nic.inFlight.release();
    settle(machine);
    expect(request).toMatchObject({ state: "done", status: "success" });
    expect(machine.nic.atc.lookup(PAGE + 1, NO_PASID)?.host).toBe(machine.canary);
  });

  test("is dropped when an Invalidate Request for its range came between", () => {
    for (const [obeys, cached] of [
      [true, false],
      [false, true],
    ] as const) {
      const machine = held();
      machine.nic.obeys.invalidations = obeys;
      const request = machine.nic.queue.translation(PAGE + 1);
      machine.iommu.unmap(NO_PASID, PAGE + 1);
      invalidate(machine, PAGE + 1);
      settle(machine);
      // Accepting and completing never waits for a Translation Request.
      expect(machine.iommu.completions).toHaveLength(1);
      machine.nic.inFlight.release();
      settle(machine);
      expect(request?.state).toBe(obeys ? "dropped" : "done");
      expect(machine.nic.atc.lookup(PAGE + 1, NO_PASID) !== undefined).toBe(cached);
    }
  });

  test("cannot begin without ATS", () => {
    const machine = held();
    machine.setAts(false);
    expect(machine.nic.queue.translation(PAGE)).toBeUndefined();
    expect(machine.nic.queue.write(PAGE, 0, 1)).toBeDefined();
    machine.nic.inFlight.release();
    settle(machine);
    expect((machine.iommu.seen.at(-1)?.flags ?? 3) & AT_MASK).toBe(AT_UNTRANSLATED);
  });
});

describe("completions that go wrong", () => {
  test("are lost, late, repeated, or name the wrong ITag and count", () => {
    const machine = held();
    const { completionFaults } = machine.nic;
    machine.nic.inFlight.release();
    completionFaults.drop = 1;
    invalidate(machine);
    settle(machine);
    expect(machine.iommu.completions).toEqual([]);
    completionFaults.delay = 1000;
    invalidate(machine);
    settle(machine);
    expect(machine.iommu.completions).toEqual([]);
    expect(machine.nic.deadline()).toBe(1000);
    wait(machine, 999);
    expect(machine.iommu.completions).toEqual([]);
    wait(machine, 1);
    expect(machine.iommu.completions).toHaveLength(1);
    Object.assign(completionFaults, { delay: 0, duplicates: 2, itag: 31, count: 8 });
    invalidate(machine);
    settle(machine);
    expect(machine.iommu.completions.slice(1)).toEqual(
      Array.from({ length: 3 }, () => ({ rid: NIC, itags: 2 ** 31, count: 8 })),
    );
  });
});
