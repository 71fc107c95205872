import { schedule } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { errno, groupOf, machine, pair } from "./machine.ts";

const RW = 3;

describe("DMA addresses", () => {
  it("come from the top of the lower 4 GiB, rounded and aligned as the kernel's allocator does it", () => {
    const { core, run, device } = machine();
    const map = (count: number): string => run(core.dma.map(device, 100, count, RW)).toString(16);
    expect([map(1), map(3), map(1), map(33)]).toEqual(["fffff", "ffff8", "ffffe", "fffc0"]);
    // Three pages take four, so the fourth is not given to anybody.
    expect(map(1)).toBe("ffffd");
  });

  it("avoid reserved regions, but not the window that software manages", () => {
    const { core, run, device } = machine({
      setup: (driver) =>
        driver.regions.set("a", [
          { page: 0xfff00, count: 0x100, prot: 0, type: "reserved" },
          { page: 0xffe00, count: 0x100, prot: 0, type: "sw-msi" },
        ]),
    });
    expect(run(core.dma.map(device, 100, 1, RW))).toBe(0xffeff);
  });

  it("are free again after unmap and after a map that failed", () => {
    const { core, run, device, driver } = machine();
    const first = run(core.dma.map(device, 100, 1, RW));
    run(core.dma.unmap(device, first, 1));
    driver.failures.set("map", 1);
    expect(errno(() => run(core.dma.map(device, 100, 1, RW)))).toBe("EIO");
    expect(run(core.dma.map(device, 100, 1, RW))).toBe(first);
  });
});

describe("an interrupt's doorbell", () => {
  it("is mapped once, also when two vectors are allocated at once", () => {
    const { core, platform, a, b, driver } = pair();
    const ops = [a, b].map((device) => ({ name: device.name, op: core.dma.prepareMsi(device, 0x8080) }));
    const outcomes = platform.scheduler.runAll(ops, schedule([0, 1, 0, 1, 0, 1]));
    expect(outcomes).toEqual([
      { ok: true, value: 0xfffff },
      { ok: true, value: 0xfffff },
    ]);
    expect(driver.log).toEqual(["map 0xfffff+1"]);
  });

  it("keeps its address on IDENTITY and in the hardware's own window", () => {
    const identity = machine({ cmdline: "iommu.passthrough=1" });
    expect(identity.run(identity.core.dma.prepareMsi(identity.device, 0x8080))).toBe(0x8080);
    const x86 = machine({
      setup: (driver) => driver.regions.set("a", [{ page: 0xfee00, count: 0x100, prot: 0, type: "msi" }]),
    });
    expect(x86.run(x86.core.dma.prepareMsi(x86.device, 0xfee01))).toBe(0xfee01);
    expect(x86.driver.log).toEqual([]);
  });

  it("cannot be had while the group is blocked; a failing map is ENOMEM", () => {
    const { core, run, device, driver } = machine();
    driver.failures.set("map", 1);
    expect(errno(() => run(core.dma.prepareMsi(device, 0x8080)))).toBe("ENOMEM");
    run(core.claimGroup(groupOf(device), "vfio"));
    expect(errno(() => run(core.dma.prepareMsi(device, 0x8080)))).toBe("EOPNOTSUPP");
  });
});
