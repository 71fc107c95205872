import { TOPOLOGY, pciDev, pciTopology, rootPortConfig, switchPortConfig } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { nic } from "../support.ts";
import { KernelLab, card } from "./reset-lab.ts";

const two = (port = {}): ReturnType<typeof card> =>
  card({ multiFunction: true }, port, { functions: [{ bdf: "01:00.1", config: nic }] });

function ats(lab: KernelLab, rid: number): boolean {
  const dev = pciDev(lab.device(rid));
  return (dev.read16(dev.atsCap + 6) & 0x8000) !== 0;
}

describe("pci_reset_bus, which VFIO's hot reset is", () => {
  test.each([
    ["by the bridge", {}],
    ["by the slot", { hotplug: true }],
  ])("%s: every function on the bus is reset, saved and restored; the IOMMU is not told", (_name, port) => {
    const lab = new KernelLab("7.2", two(port));
    const before = [0x100, 0x101].map((rid) => pciDev(lab.device(rid)).config.toBytes());
    const recorder = lab.record();
    expect(lab.errno(lab.bus.busResets.resetBus(lab.device()))).toBe("0");
    const reset = recorder.events.flatMap((event) =>
      event.type === "device:reset" && event.phase === "begin" ? [event.device] : [],
    );
    expect(reset).toEqual(["0000:01:00.0", "0000:01:00.1"]);
    expect(lab.driver.log).toEqual([]);
    expect(recorder.events.some(({ type }) => type === "reset:prepare")).toBe(false);
    expect([0x100, 0x101].map((rid) => pciDev(lab.device(rid)).config.toBytes())).toEqual(before);
    expect([0x08, 0x100, 0x101].some((rid) => pciDev(lab.device(rid)).lock.held)).toBe(false);
  });

  test("while it runs the tables permit ATS and the functions have lost it", () => {
    const lab = new KernelLab("7.2", two());
    const { scheduler, host } = lab.platform;
    const reset = scheduler.start(lab.bus.busResets.resetBus(lab.device()));
    const topology = host.get(TOPOLOGY);
    scheduler.advance(reset, { name: "link down", holds: () => topology.linkBelow(0x08)?.state === "down" });
    const endpoints = [0x100, 0x101].map((rid) => topology.fabric.endpoint(rid));
    expect(endpoints.map((endpoint) => [endpoint.resetting, endpoint.atsEnabled])).toEqual([
      [true, false],
      [true, false],
    ]);
    expect([0x100, 0x101].map((rid) => pciDev(lab.device(rid)).atsEnabled)).toEqual([true, true]);
    expect(lab.device().group?.recoveryCount).toBe(0);
    scheduler.advance(reset);
    expect([ats(lab, 0x100), ats(lab, 0x101)]).toEqual([true, true]);
  });

  test("EAGAIN when any lock below is held, ENOTTY when a function does not survive it or there is no bridge", () => {
    const lab = new KernelLab("7.2", two());
    pciDev(lab.device(0x101)).lock.grant({ id: 9, name: "somebody" }, "exclusive");
    expect(lab.errno(lab.bus.busResets.resetBus(lab.device()))).toBe("EAGAIN");
    expect(pciDev(lab.device()).lock.held).toBe(false);
    const broken = new KernelLab("7.2", card({ vendor: 0x168c, device: 0x0030 }));
    expect(broken.errno(broken.bus.busResets.resetBus(broken.device()))).toBe("ENOTTY");
    expect(broken.errno(broken.bus.busResets.resetBus(broken.device(0x08)))).toBe("ENOTTY");
  });
});

describe("below a switch", () => {
  const tree = pciTopology({
    rootPorts: [
      {
        bdf: "00:01.0",
        config: rootPortConfig({ secondary: 1, subordinate: 4 }),
        switch: {
          bdf: "01:00.0",
          config: switchPortConfig({ side: "upstream", primary: 1, secondary: 2, subordinate: 4 }),
          downstream: [
            { bdf: "02:00.0", endpoint: { bdf: "03:00.0", config: nic } },
            { bdf: "02:01.0", endpoint: { bdf: "04:00.0", config: nic } },
          ],
        },
      },
    ],
  });

  test("reset_subordinate of the root port resets and restores ports and functions, bridges first", () => {
    const lab = new KernelLab("7.2", tree);
    // Ports keep that their link changed (Slot Status): their headers are compared.
    const state = (): Uint8Array[] => [
      ...[0x100, 0x200, 0x208].map((rid) => pciDev(lab.device(rid)).config.toBytes().slice(0, 0x40)),
      ...[0x300, 0x400].map((rid) => pciDev(lab.device(rid)).config.toBytes()),
    ];
    const before = state();
    expect(lab.errno(lab.bus.busResets.resetSubordinate(lab.device(0x08)))).toBe("0");
    expect(state()).toEqual(before);
    expect(lab.driver.log).toEqual([]);
  });

  test("the inner ports lose their registers and answer nothing until the outer link is up", () => {
    const lab = new KernelLab("7.2", tree);
    const topology = lab.platform.host.get(TOPOLOGY);
    const root = lab.config(0x08);
    root.write(0x3e, 0x40);
    expect([0x100, 0x200, 0x300].map((rid) => topology.functionAt(rid)?.readConfig(0, 2))).toEqual([
      0xffff, 0xffff, 0xffff,
    ]);
    root.write(0x3e, 0);
    lab.platform.run(
      (function* () {
        yield { kind: "sleep" as const, ns: 1_000_000_000 };
      })(),
    );
    expect(topology.links.map(({ state }) => state)).toEqual(["up", "up", "up", "up"]);
    // Bus numbers are gone until software writes them again.
    expect(topology.functionAt(0x100)?.readConfig(0x18, 4)).toBe(0);
    expect(topology.functionAt(0x300)?.readConfig(0, 2)).toBe(0x1af4);
  });

  test("an inner reset leaves the neighbour alone", () => {
    const lab = new KernelLab("7.2", tree);
    const topology = lab.platform.host.get(TOPOLOGY);
    lab.config(0x200).write(0x3e, 0x40);
    expect([0x300, 0x400].map((rid) => topology.fabric.endpoint(rid).resetting)).toEqual([true, false]);
  });

  test("error recovery restores nothing: that is left to the drivers", () => {
    const lab = new KernelLab("7.2", tree);
    expect(lab.errno(lab.bus.busResets.resetAfterError(lab.device(0x200)))).toBe("0");
    expect([ats(lab, 0x300), pciDev(lab.device(0x300)).atsEnabled, ats(lab, 0x400)]).toEqual([false, true, true]);
  });
});

describe("containment", () => {
  const contained = (): { lab: KernelLab; at: number } => {
    const lab = new KernelLab("7.2", card({}, { dpc: true, hotplug: true }));
    const at = pciDev(lab.device(0x08)).config.findExtendedCapability(0x1d);
    lab.config(0x08).write(at + 6, 0x09);
    lab.platform.host.get(TOPOLOGY).dpcs.get(0x08)?.report("fatal-message", 0x100);
    return { lab, at };
  };

  test.each([
    ["with drivers that restore", true],
    ["with none", false],
  ])("the kernel ends it %s; the IOMMU hears nothing", (_name, drivers) => {
    const { lab, at } = contained();
    const recorder = lab.record();
    expect(lab.errno(lab.bus.busResets.recoverFromDpc(lab.device(0x08), drivers))).toBe("0");
    expect(lab.config(0x08).read(at + 8) & 9).toBe(0);
    expect(recorder.events.some(({ type }) => type === "reset:prepare")).toBe(false);
    expect([ats(lab, 0x100), pciDev(lab.device()).atsEnabled]).toEqual([drivers, true]);
  });

  test("a card that was pulled out does not come back", () => {
    const { lab } = contained();
    lab.platform.host.get(TOPOLOGY).linkBelow(0x08)?.surpriseDown();
    expect(lab.errno(lab.bus.busResets.recoverFromDpc(lab.device(0x08), true))).toBe("ENOTTY");
  });

  test("without a trigger there is nothing to do", () => {
    const lab = new KernelLab("7.2", card({}, { dpc: true }));
    const recorder = lab.record();
    expect(lab.errno(lab.bus.busResets.recoverFromDpc(lab.device(0x08), true))).toBe("0");
    expect(recorder.events).toEqual([]);
  });
});
