import type { ReservedRegion } from "@iommu-lab/core";
import { createPlatform, kernels, linux } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { busDevice } from "./fake-driver.ts";
import { errno, groupOf, machine, pair } from "./machine.ts";

const direct: ReservedRegion = { page: 0x100, count: 2, prot: 3, type: "direct" };
const all = ["6.1", "6.12", "7.2"] as const;

describe("kernels", () => {
  it("are named with or without the word linux", () => {
    expect(kernels).toEqual(["linux-6.1", "linux-6.12", "linux-7.2"]);
    expect(linux("linux-6.12").id).toBe("linux-6.12");
    expect(() => linux("5.4")).toThrow(/unknown kernel "5.4": expected one of linux-6.1, linux-6.12, linux-7.2/);
  });

  it("tell their rules", () => {
    expect(createPlatform({ kernel: linux("6.12"), plugins: [] }).iommu.rules).toMatchObject({
      resetStaging: false,
      pasid: "attach",
    });
  });
});

describe("first attach (linux-core §2.4)", () => {
  it.each([
    ["6.1", undefined],
    ["6.12", undefined],
    ["7.2", "DMA"],
  ])("%s: a device behind an IOMMU that firmware describes is probed at %s", (version, expected) => {
    const { core, device, run } = machine({ version, setup: (driver) => (driver.firmwareDescribed = true) });
    expect(device.group?.domain?.type).toBe(expected);
    run(core.probeAtBind(device));
    expect(device.group?.domain?.type).toBe("DMA");
  });

  it.each(all)("%s: behind another one at once", (version) => {
    expect(machine({ version }).device.group?.domain?.type).toBe("DMA");
  });

  it.each(["6.1", "6.12"])("%s: a probe that fails at bind lets the driver bind without an IOMMU", (version) => {
    const { core, device, run } = machine({
      version,
      setup(driver) {
        driver.firmwareDescribed = true;
        driver.failures.set("probe a", 1);
      },
    });
    run(core.probeAtBind(device));
    expect(device.group).toBeUndefined();
    expect(errno(() => run(core.useDefaultDomain(device)))).toBe("0");
  });
});

describe("direct mappings and the first attach (§2.5, §6)", () => {
  const log = (version: string, regions: ReservedRegion[]): readonly string[] => {
    const { core, driver, run } = machine({ version, setup: (one) => one.regions.set("b", regions) });
    run(core.addDevice(busDevice("b")));
    return driver.log.filter((line) => /attach|map|flush/.test(line));
  };

  it("6.1: after the attach, then a flush, also when nothing was mapped", () => {
    expect(log("6.1", [direct])).toEqual(["attach b DMA old=none", "map 0x100+2", "flush"]);
    expect(log("6.1", [])).toEqual(["attach b DMA old=none", "flush"]);
  });

  it("6.12: before the attach, with a flush when there are regions", () => {
    expect(log("6.12", [direct])).toEqual(["map 0x100+2", "flush", "attach b DMA old=none"]);
    expect(log("6.12", [])).toEqual(["attach b DMA old=none"]);
  });

  it("7.2: before the attach, no flush", () => {
    expect(log("7.2", [direct])).toEqual(["map 0x100+2", "attach b DMA old=none"]);
  });
});

describe("a device with a direct region (§6)", () => {
  it.each([
    ["6.1", "0", "BLOCKED"],
    ["6.12", "EINVAL", "DMA"],
    ["7.2", "EINVAL", "DMA"],
  ])("%s: a claim gives %s", (version, answer, type) => {
    const { core, device, run } = machine({ version, setup: (driver) => driver.regions.set("a", [direct]) });
    const group = groupOf(device);
    expect(errno(() => run(core.claimGroup(group, "user")))).toBe(answer);
    expect(group.domain?.type).toBe(type);
  });

  it.each([
    ["6.1", ["release a"]],
    ["6.12", ["attach a BLOCKED old=none", "release a"]],
    ["7.2", ["attach a IDENTITY old=DMA", "release a"]],
  ])("%s: removal", (version, expected) => {
    const { core, device, driver, run } = machine({ version, setup: (one) => one.regions.set("a", [direct]) });
    run(core.removeDevice(device));
    expect(driver.log).toEqual(expected);
  });
});

describe("a device that joins a group (§2.5, §15)", () => {
  const joined = (version: string, claimed: boolean): readonly string[] => {
    const { core, device, driver, run } = machine({ version });
    if (claimed) {
      run(core.claimGroup(groupOf(device), "user"));
    }
    driver.log.length = 0;
    driver.hints.set("b", () => groupOf(device));
    run(core.addDevice(busDevice("b")));
    return driver.log.filter((line) => line.startsWith("attach"));
  };

  it("6.1: is attached to the group's domain, and unless it is claimed to the default domain again", () => {
    expect(joined("6.1", false)).toEqual(["attach b DMA old=none", "attach b DMA old=none"]);
    expect(joined("6.1", true)).toEqual(["attach b BLOCKED old=none"]);
  });

  it.each(["6.12", "7.2"])("%s: is attached to the group's domain once", (version) => {
    expect(joined(version, false)).toEqual(["attach b DMA old=none"]);
    expect(joined(version, true)).toEqual(["attach b BLOCKED old=none"]);
  });
});

describe("sysfs type (§8)", () => {
  it.each([
    ["6.1", "EBUSY"],
    ["6.12", "EPERM"],
    ["7.2", "EPERM"],
  ])("%s: while a driver is bound: %s", (version, answer) => {
    const { core, device, run } = machine({ version });
    device.driver = { name: "nic", managesDma: false };
    run(core.useDefaultDomain(device));
    expect(errno(() => run(core.storeType(groupOf(device), "identity")))).toBe(answer);
    expect(errno(() => run(core.storeType(groupOf(device), "DMA-FQ")))).toBe("0");
  });

  it.each([
    ["6.1", "EINVAL"],
    ["6.12", "0"],
    ["7.2", "0"],
  ])("%s: of a group of two: %s", (version, answer) => {
    const { a, core, run } = pair({ version });
    expect(errno(() => run(core.storeType(groupOf(a), "identity")))).toBe(answer);
  });

  it("6.1: of a claimed group is EBUSY, and a change finalizes the probe again", () => {
    const { core, device, driver, run } = machine({ version: "6.1" });
    run(core.storeType(groupOf(device), "identity"));
    expect(driver.log).toEqual(["attach a IDENTITY old=none", "finalize a"]);
    run(core.claimGroup(groupOf(device), "user"));
    expect(errno(() => run(core.storeType(groupOf(device), "DMA")))).toBe("EBUSY");
  });

  it("6.1: a failing attach leaves the old default domain", () => {
    const { core, device, driver, run } = machine({ version: "6.1" });
    driver.failures.set("attach a IDENTITY", 1);
    expect(errno(() => run(core.storeType(groupOf(device), "identity")))).toBe("EIO");
    expect(groupOf(device).domain?.type).toBe("DMA");
    expect(groupOf(device).defaultDomain?.type).toBe("DMA");
  });
});

describe("a group attach that fails (§10)", () => {
  const after = (version: string): readonly string[] => {
    const { a, core, driver, run } = pair({ version });
    const domain = core.allocPaging(a, { pasid: false });
    run(core.claimGroup(groupOf(a), "user"));
    driver.log.length = 0;
    driver.failures.set("attach b UNMANAGED", 1);
    expect(errno(() => run(core.attachGroup(domain, groupOf(a))))).toBe("EIO");
    return driver.log;
  };

  it.each(["6.1", "6.12"])(
    "%s: the failing member is attached back as well, and no driver is told the old domain",
    (version) => {
      expect(after(version)).toEqual([
        "attach a UNMANAGED old=none",
        "attach b UNMANAGED old=none",
        "attach a BLOCKED old=none",
        "attach b BLOCKED old=none",
      ]);
    },
  );

  it("7.2: only those before it", () => {
    expect(after("7.2")).toEqual([
      "attach a UNMANAGED old=BLOCKED",
      "attach b UNMANAGED old=BLOCKED",
      "attach a BLOCKED old=UNMANAGED",
    ]);
  });

  it("6.1: a claim that fails reverts nothing", () => {
    const { a, core, driver, run } = pair({ version: "6.1" });
    driver.failures.set("attach b BLOCKED", 1);
    expect(errno(() => run(core.claimGroup(groupOf(a), "user")))).toBe("EIO");
    expect(driver.log).toEqual(["attach a BLOCKED old=none", "attach b BLOCKED old=none"]);
    expect(groupOf(a).owner).toBeUndefined();
  });
});

describe("PASIDs (§11)", () => {
  it("6.1: the core attaches none", () => {
    const { core, device, run } = machine({ version: "6.1" });
    expect(errno(() => run(core.attachPasid(core.allocPaging(device, { pasid: true }), device, 1)))).toBe("EOPNOTSUPP");
  });

  it("6.12: attach and removal by the driver's own operation, no replacement", () => {
    const { core, device, driver, run } = machine({ version: "6.12" });
    const domain = core.allocPaging(device, { pasid: true });
    run(core.attachPasid(domain, device, 1));
    expect(errno(() => run(core.replacePasid(core.allocPaging(device, { pasid: true }), device, 1)))).toBe(
      "EOPNOTSUPP",
    );
    run(core.detachPasid(device, 1));
    expect(driver.log).toEqual(["pasid a 1 UNMANAGED old=none", "remove a 1 UNMANAGED"]);
  });

  it("6.12: an attach that fails leaves no entry", () => {
    const { core, device, driver, run } = machine({ version: "6.12" });
    driver.failures.set("pasid a UNMANAGED", 1);
    expect(errno(() => run(core.attachPasid(core.allocPaging(device, { pasid: true }), device, 1)))).toBe("EIO");
    expect(groupOf(device).pasids.size).toBe(0);
  });

  it("only 7.2 asks for a PASID-compatible default domain", () => {
    const asked = (version: string): boolean | undefined => machine({ version }).driver.requests[0]?.pasid;
    expect([asked("6.1"), asked("6.12"), asked("7.2")]).toEqual([false, false, true]);
  });
});

describe("small differences (§7, §9, §12, §13, §16)", () => {
  it.each([
    ["6.1", "EOPNOTSUPP"],
    ["6.12", "0"],
    ["7.2", "0"],
  ])("%s: a claim of one device: %s", (version, answer) => {
    const { core, device, run } = machine({ version });
    expect(errno(() => run(core.claimDevice(device, "user")))).toBe(answer);
  });

  it.each([
    ["6.1", "0"],
    ["6.12", "0"],
    ["7.2", "EOPNOTSUPP"],
  ])("%s: an MSI allocated on BLOCKED: %s", (version, answer) => {
    const { core, device, run } = machine({ version });
    run(core.claimGroup(groupOf(device), "user"));
    expect(errno(() => expect(run(core.dma.prepareMsi(device, 0x8090))).toBe(0x8090))).toBe(answer);
  });

  it.each([
    ["6.1", []],
    ["6.12", []],
    ["7.2", ["attach a BLOCKED old=DMA", "attach a DMA old=BLOCKED"]],
  ])("%s: a reset tells the IOMMU %j", (version, expected) => {
    const { core, device, driver, run } = machine({ version });
    run(core.resetPrepare(device));
    run(core.resetDone(device));
    expect(driver.log).toEqual(expected);
  });

  it.each([
    ["6.1", "0"],
    ["6.12", "EPROBE_DEFER"],
    ["7.2", "EPROBE_DEFER"],
  ])("%s: a driver binds before the default domain is there: %s", (version, answer) => {
    const { core, device, run } = machine({ version });
    groupOf(device).defaultDomain = undefined;
    expect(errno(() => run(core.useDefaultDomain(device)))).toBe(answer);
  });

  it("members that want different types: 6.1 takes the global default, later kernels IDENTITY", () => {
    const type = (version: string): string | undefined =>
      pair({ version, setup: (driver) => driver.wishes.set("a", "DMA-FQ").set("b", "IDENTITY") }).a.group?.domain?.type;
    expect([type("6.1"), type("6.12"), type("7.2")]).toEqual(["DMA", "IDENTITY", "IDENTITY"]);
  });
});
