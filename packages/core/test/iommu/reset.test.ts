import type { LifecycleHooks } from "@iommu-lab/core";
import { HOOKS, createPlatform, linux } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { FakeDriver, busDevice } from "./fake-driver.ts";
import { errno, groupOf, machine, pair } from "./machine.ts";

describe("reset staging", () => {
  it("puts back what the device had, RID and every PASID", () => {
    const { core, run, driver, device } = machine();
    const domains = [9, 1, 4].map((pasid) => {
      const domain = core.allocPaging(device, { pasid: true });
      run(core.attachPasid(domain, device, pasid));
      return [`a ${pasid}`, domain] as const;
    });
    const before = driver.rid.get("a");
    run(core.resetPrepare(device));
    expect([driver.rid.get("a")?.type, driver.pasids.size]).toEqual(["BLOCKED", 0]);
    driver.log.length = 0;
    run(core.resetDone(device));
    expect(driver.log.map((line) => line.split(" ").slice(0, 3).join(" "))).toEqual([
      "attach a DMA",
      "pasid a 1",
      "pasid a 4",
      "pasid a 9",
    ]);
    expect(driver.rid.get("a")).toBe(before);
    expect(driver.pasids).toEqual(new Map(domains));
  });

  it("refuses attaches of any member and lets detaches through; done attaches what the group is on by then", () => {
    const { core, run, driver, a, b, warnings } = pair();
    const group = groupOf(a);
    const domain = core.allocPaging(a, { pasid: true });
    run(core.claimGroup(group, "vfio"));
    run(core.attachPasid(domain, a, 1));
    run(core.resetPrepare(a));
    const attempts = [
      () => run(core.attachGroup(core.allocPaging(b, { pasid: false }), group)),
      () => run(core.setGroupDomain(group, core.allocPaging(b, { pasid: false }))),
      () => run(core.attachPasid(domain, b, 2)),
      () => run(core.replacePasid(core.allocPaging(b, { pasid: true }), b, 1)),
    ];
    expect(attempts.map((attempt) => errno(attempt))).toEqual(["EBUSY", "EBUSY", "EBUSY", "EBUSY"]);
    driver.log.length = 0;
    run(core.detachPasid(b, 1));
    expect(driver.log).toEqual(["pasid b 1 BLOCKED old=UNMANAGED"]);
    run(core.releaseGroup(group));
    expect(driver.log.slice(1)).toEqual(["attach b DMA old=BLOCKED"]);
    expect(errno(() => run(core.claimGroup(group, "other")))).toBe("EBUSY");
    run(core.resetDone(a));
    expect(driver.log.slice(2)).toEqual(["attach a DMA old=BLOCKED"]);
    expect(driver.pasids.size).toBe(0);
    expect(warnings()).toEqual([]);
    expect(errno(() => run(core.claimGroup(group, "other")))).toBe("0");
  });

  it("of a group that is blocked anyway asks nothing for the RID", () => {
    const { core, run, driver, device } = machine();
    run(core.claimGroup(groupOf(device), "vfio"));
    driver.log.length = 0;
    run(core.resetPrepare(device));
    expect(groupOf(device).member(device)?.blocked).toBe(true);
    run(core.resetDone(device));
    expect(driver.log).toEqual([]);
    expect(groupOf(device).member(device)?.blocked).toBe(false);
  });

  it("prepared twice and done once, it stays blocked", () => {
    const { core, run, driver, device } = machine();
    run(core.resetPrepare(device));
    run(core.resetPrepare(device));
    run(core.resetDone(device));
    expect(driver.rid.get("a")?.type).toBe("BLOCKED");
    expect(groupOf(device).member(device)).toMatchObject({ blocked: true, resetDepth: 1 });
    expect(groupOf(device).recoveryCount).toBe(1);
  });

  it("done without prepare warns and changes nothing", () => {
    const { core, run, driver, device, warnings } = machine();
    run(core.resetDone(device));
    expect(warnings()).toEqual(["pci_dev_reset_iommu_done"]);
    expect(driver.log).toEqual([]);
    expect(groupOf(device).member(device)).toMatchObject({ blocked: false, resetDepth: 0 });
    expect(groupOf(device).recoveryCount).toBe(0);
  });

  it("without usable ATS neither prepare nor done does anything", () => {
    const { core, run, driver, device, warnings } = machine({ bus: { atsSupported: () => false } });
    run(core.resetPrepare(device));
    expect(groupOf(device).recoveryCount).toBe(0);
    run(core.resetDone(device));
    expect(driver.log).toEqual([]);
    expect(warnings()).toEqual([]);
  });

  it("a prepare that the driver refuses leaves nothing staged", () => {
    const { core, run, driver, device } = machine();
    driver.failures.set("attach a BLOCKED", 1);
    expect(errno(() => run(core.resetPrepare(device)))).toBe("EIO");
    expect(groupOf(device).member(device)).toMatchObject({ blocked: false, resetDepth: 0 });
    expect(groupOf(device).recoveryCount).toBe(0);
  });

  it("blocks a device with a direct region too", () => {
    const { core, run, driver, device } = machine({
      setup: (made) => made.regions.set("a", [{ page: 16, count: 1, prot: 3, type: "direct" }]),
    });
    run(core.resetPrepare(device));
    expect(driver.log).toEqual(["attach a BLOCKED old=DMA"]);
  });

  it("failures of done are WARNs, and the device counts as unblocked", () => {
    const { core, run, driver, device, warnings } = machine();
    run(core.attachPasid(core.allocPaging(device, { pasid: true }), device, 1));
    run(core.resetPrepare(device));
    driver.failures.set("attach a DMA", 1);
    driver.failures.set("pasid a UNMANAGED", 1);
    run(core.resetDone(device));
    expect(warnings()).toEqual(["pci_dev_reset_iommu_done", "pci_dev_reset_iommu_done"]);
    expect(groupOf(device).member(device)?.blocked).toBe(false);
    expect(groupOf(device).recoveryCount).toBe(0);
    expect(driver.rid.get("a")?.type).toBe("BLOCKED");
  });

  it("warns once of blocked members with the same requester ID", () => {
    const { core, run, a, b, warnings } = pair({ bus: { sharesAlias: () => true } });
    run(core.resetPrepare(a));
    run(core.resetPrepare(b));
    run(core.resetDone(a));
    expect(warnings()).toEqual(["pci_dev_reset_iommu_done"]);
    run(core.resetDone(b));
    expect(warnings()).toHaveLength(1);
  });

  it("tells hooks when a device is staged and unstaged, however deep the pair is nested", () => {
    const told: string[] = [];
    const hook: LifecycleHooks = { reset: (_device, phase) => told.push(phase) };
    const platform = createPlatform({
      kernel: linux("7.2"),
      plugins: [{ name: "spy", register: (host) => host.add(HOOKS, hook) }],
    });
    const device = platform.run(platform.iommu.addDevice(busDevice("a")));
    platform.run(platform.iommu.registerDriver(new FakeDriver()));
    for (const step of ["Prepare", "Prepare", "Done", "Done", "Done"] as const) {
      platform.run(platform.iommu[`reset${step}`](device));
    }
    expect(told).toEqual(["prepare", "done"]);
  });
});

describe("a put-off attach", () => {
  it("happens at the first DMA mapping", () => {
    const { core, run, driver, device } = machine({ setup: (made) => (made.deferred = true) });
    expect(driver.rid.has("a")).toBe(false);
    run(core.dma.map(device, 5, 1, 3));
    run(core.dma.map(device, 6, 1, 3));
    expect(driver.log).toEqual(["attach a DMA old=none", "map 0xfffff+1", "map 0xffffe+1"]);
  });

  it("is ended by a reset, and released untouched otherwise", () => {
    const { core, run, driver, device } = machine({ setup: (made) => (made.deferred = true) });
    run(core.resetPrepare(device));
    run(core.resetDone(device));
    expect(driver.log).toEqual(["attach a BLOCKED old=DMA", "attach a DMA old=BLOCKED"]);
    const idle = machine({ setup: (made) => (made.deferred = true) });
    idle.run(idle.core.removeDevice(idle.device));
    expect(idle.driver.log).toEqual(["release a"]);
  });
});
