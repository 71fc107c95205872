import type { LifecycleHooks } from "@iommu-lab/core";
import { HOOKS, createPlatform, linux } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { FakeDriver, busDevice } from "./fake-driver.ts";
import { errno, groupOf, machine, pair, share } from "./machine.ts";

function typeUnder(cmdline: string): string | undefined {
  return machine({ cmdline }).device.group?.domain?.type;
}

describe("the default type", () => {
  it("reads switches as the kernel does, and the last word counts", () => {
    expect(typeUnder("iommu.passthrough=on")).toBe("IDENTITY");
    expect(typeUnder("iommu.passthrough=off iommu=pt")).toBe("IDENTITY");
    expect(typeUnder("iommu=pt iommu.passthrough=N")).toBe("DMA");
    expect(typeUnder("iommu.passthrough=1 iommu=pt iommu.passthrough=0")).toBe("DMA");
    expect(typeUnder("iommu.passthrough=what")).toBe("DMA");
    expect(typeUnder("iommu.strict=no")).toBe("DMA-FQ");
    expect(typeUnder("iommu.strict=Y")).toBe("DMA");
  });

  it("of the build is not IDENTITY with memory encryption, unless the command line says so", () => {
    const under = (cmdline: string): string | undefined => {
      const kernel = linux("7.2", { cmdline, config: { defaultDomain: "IDENTITY" } });
      const platform = createPlatform({ kernel, plugins: [] });
      const device = platform.run(platform.iommu.addDevice(busDevice("a")));
      platform.run(platform.iommu.registerDriver(new FakeDriver()));
      return device.group?.domain?.type;
    };
    expect(under("")).toBe("IDENTITY");
    expect(under("mem_encrypt=on")).toBe("DMA");
    expect(under("mem_encrypt=on iommu.passthrough=1")).toBe("IDENTITY");
  });

  it("of members that disagree is IDENTITY if one wants it, else the first wish", () => {
    const types = (first: "DMA" | "IDENTITY", second: "DMA" | "DMA-FQ" | "IDENTITY"): string | undefined =>
      pair({ setup: (driver) => driver.wishes.set("a", first).set("b", second) }).a.group?.domain?.type;
    expect(types("DMA", "IDENTITY")).toBe("IDENTITY");
    expect(types("IDENTITY", "DMA")).toBe("IDENTITY");
    expect(types("DMA", "DMA-FQ")).toBe("DMA");
  });

  it("of an untrusted member is DMA, and a driver that insists on another is refused", () => {
    const bus = { untrusted: true };
    expect(machine({ bus, cmdline: "iommu.passthrough=1" }).device.group?.domain?.type).toBe("DMA");
    expect(errno(() => machine({ bus, setup: (driver) => (driver.wish = "IDENTITY") }))).toBe("EINVAL");
  });

  it("is shown to hooks as the kernel would choose it", () => {
    const shown: string[] = [];
    const kernel = linux("7.2", { cmdline: "iommu.passthrough=1" });
    const hook: LifecycleHooks = {
      defaultDomain(_group, type) {
        shown.push(type);
        return undefined;
      },
    };
    const platform = createPlatform({
      kernel,
      plugins: [{ name: "spy", register: (host) => host.add(HOOKS, hook) }],
    });
    platform.run(platform.iommu.addDevice(busDevice("a")));
    platform.run(platform.iommu.registerDriver(new FakeDriver()));
    expect(shown).toEqual(["IDENTITY"]);
  });
});

describe("allocation", () => {
  it("falls back to DMA; when DMA itself fails it is EINVAL", () => {
    const lazy = machine({ cmdline: "iommu.strict=0", setup: (driver) => driver.failures.set("alloc DMA-FQ", 1) });
    expect(lazy.device.group?.domain?.type).toBe("DMA");
    expect(errno(() => machine({ setup: (driver) => driver.failures.set("alloc DMA", 1) }))).toBe("EINVAL");
  });

  it("asks for PASIDs when the first member has them", () => {
    const asked = (first: number, second: number): boolean[] => {
      const driver = new FakeDriver();
      const platform = createPlatform({ kernel: linux("7.2"), plugins: [] });
      share(driver, "b");
      platform.run(platform.iommu.addDevice(busDevice("a", { maxPasids: () => first })));
      platform.run(platform.iommu.addDevice(busDevice("b", { maxPasids: () => second })));
      platform.run(platform.iommu.registerDriver(driver));
      return driver.requests.map(({ pasid }) => pasid);
    };
    expect(asked(16, 0)).toEqual([true]);
    expect(asked(0, 16)).toEqual([false]);
  });
});

describe("a change by sysfs", () => {
  it("knows four words and no property of an object", () => {
    const { core, run, device } = machine();
    expect(errno(() => run(core.storeType(groupOf(device), "constructor")))).toBe("EINVAL");
  });

  it("that fails restores the default domain and frees the new one", () => {
    const { core, run, driver, a, b } = pair();
    const group = groupOf(a);
    const old = group.defaultDomain;
    driver.failures.set("attach b IDENTITY", 1);
    expect(errno(() => run(core.storeType(group, "identity")))).toBe("EIO");
    expect([group.domain, group.defaultDomain]).toEqual([old, old]);
    expect([driver.rid.get("a"), driver.rid.get(b.name)]).toEqual([old, old]);
    expect(driver.freed).toEqual([]);
    run(core.storeType(group, "identity"));
    expect(driver.freed).toEqual(["DMA"]);
    driver.failures.set("attach a DMA", 1);
    expect(errno(() => run(core.storeType(group, "DMA")))).toBe("EIO");
    expect(driver.freed).toEqual(["DMA", "DMA"]);
  });

  it("puts the old domain back when direct mappings fail twice", () => {
    const { core, run, driver, device } = machine({
      cmdline: "iommu.passthrough=1",
      setup: (made) => made.regions.set("a", [{ page: 16, count: 2, prot: 3, type: "direct" }]),
    });
    const group = groupOf(device);
    driver.failures.set("map", 1);
    run(core.storeType(group, "DMA"));
    expect(driver.log).toEqual(["map 0x10+2", "attach a DMA old=IDENTITY", "map 0x10+2"]);
    run(core.storeType(group, "identity"));
    driver.log.length = 0;
    driver.failures.set("map", 2);
    driver.failures.set("attach a IDENTITY", 1);
    expect(errno(() => run(core.storeType(group, "DMA")))).toBe("EIO");
    expect(driver.log).toEqual(["map 0x10+2", "attach a DMA old=IDENTITY", "map 0x10+2", "attach a IDENTITY old=DMA"]);
    expect(group.defaultDomain?.type).toBe("IDENTITY");
  });
});

describe("direct regions", () => {
  it("of two members may overlap: each page is mapped once", () => {
    const region = (page: number, count: number) => [{ page, count, prot: 3, type: "direct" as const }];
    const { core, run, driver, a } = pair({
      cmdline: "iommu.passthrough=1",
      setup: (made) => made.regions.set("a", region(18, 2)).set("b", region(16, 6)),
    });
    run(core.storeType(groupOf(a), "DMA"));
    expect(driver.log.filter((line) => line.startsWith("map"))).toEqual(["map 0x12+2", "map 0x10+2", "map 0x14+2"]);
  });
});

describe("ownership of a group", () => {
  it("is refused by one direct region, and every member stays on the default domain", () => {
    const { core, run, driver, a, warnings } = pair({
      setup: (made) => made.regions.set("b", [{ page: 16, count: 1, prot: 3, type: "direct" }]),
    });
    const group = groupOf(a);
    expect(errno(() => run(core.claimGroup(group, "vfio")))).toBe("EINVAL");
    expect(driver.log).toEqual(["attach a BLOCKED old=DMA", "attach a DMA old=BLOCKED"]);
    expect([driver.rid.get("a"), driver.rid.get("b")]).toEqual([group.defaultDomain, group.defaultDomain]);
    expect(warnings()).toEqual(["__iommu_device_set_domain"]);
    expect([group.ownerCount, group.owner]).toEqual([0, undefined]);
  });

  it("binding and unbinding ask nothing of the driver", () => {
    const { core, run, driver, device, warnings } = machine();
    run(core.useDefaultDomain(device));
    run(core.unuseDefaultDomain(device));
    expect(driver.log).toEqual([]);
    expect(warnings()).toEqual([]);
    run(core.unuseDefaultDomain(device));
    expect(warnings()).toEqual(["iommu_device_unuse_default_domain"]);
    expect(groupOf(device).ownerCount).toBe(0);
  });

  it("release with PASIDs left is a WARN and nothing else", () => {
    const { core, run, driver, device, warnings } = machine();
    const group = groupOf(device);
    run(core.claimGroup(group, "vfio"));
    run(core.attachPasid(core.allocPaging(device, { pasid: true }), device, 1));
    driver.log.length = 0;
    run(core.releaseGroup(group));
    expect(warnings()).toEqual(["__iommu_release_dma_ownership"]);
    expect(driver.log).toEqual([]);
    expect(group.owner).toBe("vfio");
  });

  it("a user's attach is refused off the core's own domains, and detaching goes back to blocking", () => {
    const { core, run, driver, device, warnings } = machine();
    const group = groupOf(device);
    run(core.claimGroup(group, "vfio"));
    run(core.attachGroup(core.allocPaging(device, { pasid: false }), group));
    expect(errno(() => run(core.attachGroup(core.allocPaging(device, { pasid: false }), group)))).toBe("EBUSY");
    run(core.detachGroup(group));
    expect(group.domain?.type).toBe("BLOCKED");
    run(core.attachGroup(core.allocPaging(device, { pasid: false }), group));
    driver.log.length = 0;
    driver.failures.set("attach a BLOCKED", 1);
    run(core.detachGroup(group));
    expect(driver.log).toEqual(["attach a BLOCKED old=UNMANAGED"]);
    expect(warnings()).toEqual(["__iommu_group_set_domain_nofail"]);
    const foreign = new FakeDriver().allocPaging(device, { type: "UNMANAGED", pasid: false });
    expect(errno(() => run(core.attachGroup(foreign, group)))).toBe("EINVAL");
  });
});
