import type { TraceEvent } from "@iommu-lab/core";
import { type ResetPoint, pciEnableAts, pciEnablePasid, pciEnablePri, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { type FakeDriver, Machine, nic, oneNic } from "../support.ts";

const MS = 1_000_000;

function probed(flrNs?: number): { machine: Machine; driver: FakeDriver } {
  const machine = new Machine(
    flrNs === undefined
      ? oneNic
      : pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: nic, flrNs } }] }),
    { driver: true },
  );
  machine.platform.boot();
  return { machine, driver: machine.driver };
}

function ats(machine: Machine): boolean {
  return machine.nic.atsEnabled;
}

function writes(events: readonly TraceEvent[]): string[] {
  return events.flatMap((event) =>
    event.type === "config:write" && event.device === "0000:01:00.0" ? [event.register] : [],
  );
}

describe("pci_reset_function by FLR", () => {
  test("quiesces, blocks, resets, unblocks, restores, in this order", () => {
    const { machine } = probed();
    machine.run(pciEnablePri(machine.dev(), 4));
    const recorder = machine.record();
    machine.run(machine.bus.resetFunction(machine.device()));
    expect(writes(recorder.events)).toEqual([
      "Command",
      "ATS Control",
      "Device Control",
      "ATS Control",
      "Device Control",
      "Device Control 2",
      "PASID Control",
      "Outstanding Page Request Allocation",
      "PRI Control",
      "ATS Control",
      "Command",
    ]);
    expect(machine.nic.config.read16(4)).toBe(6);
    expect(ats(machine)).toBe(true);
  });

  test("the observer sees the function before it is told, after the IOMMU lets it through, and restored", () => {
    const { machine, driver } = probed();
    driver.log.length = 0;
    const seen: unknown[] = [];
    const { iommu } = machine.platform;
    machine.run(
      machine.bus.resetFunction(machine.device(), (point) => {
        const member = machine.device().group?.member(machine.device());
        seen.push([
          point,
          ats(machine),
          member?.blocked,
          machine.nic.config.read16(4),
          machine.platform.clock.now / MS,
        ]);
      }),
    );
    expect(seen).toEqual([
      ["prepared", false, true, 0x400, 0],
      ["done", true, false, 0, 100],
      ["restored", true, false, 6, 100],
    ]);
    expect(driver.log).toEqual(["0000:01:00.0 BLOCKED", "0000:01:00.0 DMA"]);
    expect(iommu.groups.every(({ recoveryCount }) => recoveryCount === 0)).toBe(true);
  });

  test("the operation can be halted at each point before anything further happens", () => {
    const { machine } = probed();
    const points: ResetPoint[] = [];
    const { scheduler } = machine.platform;
    const reset = scheduler.start(machine.bus.resetFunction(machine.device(), (point) => points.push(point)));
    scheduler.advance(reset, { name: "prepared", holds: () => points.includes("prepared") });
    expect(machine.nic.resetting).toBe(false);
    expect(ats(machine)).toBe(false);
    scheduler.advance(reset, { name: "done", holds: () => points.includes("done") });
    expect(machine.nic.config.read16(4)).toBe(0);
    expect(scheduler.advance(reset)).toBe(true);
    expect(points).toEqual(["prepared", "done", "restored"]);
  });

  test("what the kernel believes comes back: PASID with its features, STU, PRI allocation", () => {
    const machine = new Machine(
      pciTopology({
        rootPorts: [
          { bdf: "00:01.0", acs: { capability: 0x1f, control: 0x1d }, endpoint: { bdf: "01:00.0", config: nic } },
        ],
      }),
    );
    machine.platform.boot();
    const dev = machine.dev();
    machine.run(pciEnablePasid(dev, 4));
    machine.run(pciEnablePri(dev, 3));
    machine.run(pciEnableAts(dev, 14));
    const before = machine.nic.config.toBytes();
    machine.run(machine.bus.resetFunction(machine.device()));
    expect(machine.nic.config.toBytes()).toEqual(before);
  });

  test("header words come back from the last to the first, Command after the rest", () => {
    const { machine } = probed();
    machine.nic.writeConfig(0x3c, 1, 11);
    machine.nic.writeConfig(0x0c, 1, 16);
    const recorder = machine.record();
    machine.run(machine.bus.resetFunction(machine.device()));
    expect(writes(recorder.events).slice(-3)).toEqual(["Interrupt Line", "header 0xc", "Command"]);
    expect([machine.nic.config.read8(0x3c), machine.nic.config.read8(0x0c)]).toEqual([11, 16]);
  });

  test("ENOTTY without a method, before anything happens", () => {
    const machine = new Machine(
      pciTopology({ integrated: [{ bdf: "00:05.0", config: { ...nic, flr: false, pcieType: 9 } }] }),
    );
    machine.platform.boot();
    const recorder = machine.record();
    expect(machine.errno(machine.bus.resetFunction(machine.device(0x28)))).toBe("ENOTTY");
    expect(recorder.events).toEqual([]);
  });

  test("a function that takes longer is polled until it answers", () => {
    const { machine } = probed(350 * MS);
    machine.run(machine.bus.resetFunction(machine.device()));
    // 100 ms, then 1 + 2 + 4 + … until 350 ms have passed.
    expect(machine.platform.clock.now / MS).toBe(100 + 255);
    expect(machine.nic.config.read16(4)).toBe(6);
  });

  test("one that never comes back: ENOTTY, and the IOMMU lets it through all the same", () => {
    const { machine } = probed(1000 * 1000 * MS);
    machine.run(machine.bus.resets.storeMethods(machine.device(), "flr"));
    const points: ResetPoint[] = [];
    expect(machine.errno(machine.bus.resetFunction(machine.device(), (point) => points.push(point)))).toBe("ENOTTY");
    expect(points).toEqual(["prepared", "done", "restored"]);
    expect(machine.device().group?.recoveryCount).toBe(0);
    expect(machine.platform.clock.now / MS).toBeGreaterThan(60_000);
  });

  test("pending transactions are waited for before the IOMMU blocks", () => {
    const { machine } = probed();
    machine.nic.holdTransactions(150 * MS);
    let prepared = 0;
    machine.run(
      machine.bus.resetFunction(machine.device(), (point) => {
        prepared = point === "prepared" ? machine.platform.clock.now / MS : prepared;
      }),
    );
    expect(prepared).toBe(300);
  });

  test("after 700 ms it is reset with transactions pending, with a warning", () => {
    const { machine } = probed();
    machine.nic.holdTransactions(10_000 * MS);
    const recorder = machine.record();
    machine.run(machine.bus.resetFunction(machine.device()));
    expect(recorder.events.filter(({ type }) => type === "warn")).toMatchObject([
      { where: "pcie_flr", time: 700 * MS },
    ]);
  });

  test("a failing prepare resets nothing and restores the function", () => {
    const { machine, driver } = probed();
    driver.failing = "0000:01:00.0 BLOCKED";
    const recorder = machine.record();
    expect(machine.errno(machine.bus.resetFunction(machine.device()))).toBe("ENOMEM");
    expect(recorder.events.some(({ type }) => type === "device:reset")).toBe(false);
    expect(machine.nic.config.read16(4)).toBe(6);
    expect(machine.dev().lock.held).toBe(false);
    expect(machine.dev(0x08).lock.held).toBe(false);
  });

  test("without an IOMMU it is reset and nothing is staged", () => {
    const machine = new Machine();
    machine.platform.boot();
    const recorder = machine.record();
    machine.run(machine.bus.resetFunction(machine.device()));
    expect(recorder.events.some(({ type }) => type === "reset:prepare")).toBe(false);
    expect(recorder.events.filter(({ type }) => type === "device:reset")).toHaveLength(2);
  });

  test("a surprise removal during the reset ends it with ENOTTY", () => {
    const { machine } = probed();
    expect(
      machine.errno(
        machine.bus.resetFunction(machine.device(), (point) => {
          if (point === "prepared") {
            machine.nic.unplug();
          }
        }),
      ),
    ).toBe("ENOTTY");
    expect(machine.dev().present()).toBe(false);
  });
});
