import { HOOKS, KernelError, Recorder, createPlatform, linux } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { FakeDriver, busDevice } from "./fake-driver.ts";
import { errno, groupOf, machine, pair } from "./machine.ts";

describe("probe", () => {
  it("probes all devices, then sets groups up, then finalizes", () => {
    const platform = createPlatform({ kernel: linux("7.2"), plugins: [] });
    const driver = new FakeDriver();
    for (const name of ["a", "b"]) {
      platform.run(platform.iommu.addDevice(busDevice(name)));
    }
    platform.run(platform.iommu.registerDriver(driver));
    expect(driver.log).toEqual([
      "probe a",
      "probe b",
      "attach a DMA old=none",
      "finalize a",
      "attach b DMA old=none",
      "finalize b",
    ]);
  });

  it("forgives ENODEV; any other error takes the unit from all devices", () => {
    const { driver, devices, platform } = machine({ names: ["a", "b"] });
    expect(devices.every((device) => device.group !== undefined)).toBe(true);
    const other = createPlatform({ kernel: linux("7.2"), plugins: [] });
    const failing = new FakeDriver();
    failing.failures.set("probe b", 1);
    const added = ["a", "b"].map((name) => other.run(other.iommu.addDevice(busDevice(name))));
    expect(errno(() => other.run(other.iommu.registerDriver(failing)))).toBe("EIO");
    expect(added.map((device) => device.group)).toEqual([undefined, undefined]);
    expect(other.iommu.driver).toBeUndefined();
    expect(failing.log).toContain("attach a BLOCKED old=none");
    expect(driver.log).toEqual([]);
    expect(platform.iommu.driver).toBe(driver);
  });

  it("takes the default type from command line, driver and trust", () => {
    expect(machine({ cmdline: "iommu.passthrough=1" }).device.group?.domain?.type).toBe("IDENTITY");
    expect(machine({ cmdline: "iommu.strict=0" }).device.group?.domain?.type).toBe("DMA-FQ");
    const wishes = machine({ setup: (driver) => (driver.wish = "IDENTITY") });
    expect(wishes.device.group?.domain?.type).toBe("IDENTITY");
    expect(errno(() => wishes.run(wishes.core.storeType(groupOf(wishes.device), "DMA")))).toBe("EINVAL");
  });
});

describe("sysfs type", () => {
  it("refuses unknown words, bound drivers, and takes DMA to DMA-FQ in place", () => {
    const { core, run, device, driver } = machine();
    const group = groupOf(device);
    expect(errno(() => run(core.storeType(group, "blocked")))).toBe("EINVAL");
    run(core.useDefaultDomain(device));
    expect(errno(() => run(core.storeType(group, "identity")))).toBe("EPERM");
    run(core.storeType(group, "DMA-FQ"));
    expect(driver.log).toEqual([]);
    expect(group.domain?.type).toBe("DMA-FQ");
    run(core.unuseDefaultDomain(device));
    run(core.storeType(group, "identity"));
    expect(driver.log).toEqual(["attach a IDENTITY old=DMA-FQ"]);
    run(core.storeType(group, "identity"));
    expect(driver.log).toHaveLength(1);
  });

  it("keeps the domain when its type is asked for again", () => {
    const { core, run, device, driver } = machine();
    const group = groupOf(device);
    const { domain } = group;
    run(core.storeType(group, "auto"));
    run(core.storeType(group, "DMA"));
    expect(group.domain).toBe(domain);
    expect(driver.log).toEqual([]);
  });
});

describe("ownership", () => {
  it("claim blocks the group, release attaches the default domain", () => {
    const { core, run, device, driver } = machine();
    const group = groupOf(device);
    run(core.claimGroup(group, "vfio"));
    expect(driver.log).toEqual(["attach a BLOCKED old=DMA"]);
    expect(errno(() => run(core.useDefaultDomain(device)))).toBe("EBUSY");
    expect(errno(() => run(core.claimGroup(group, "other")))).toBe("EPERM");
    run(core.releaseGroup(group));
    expect(driver.log.at(-1)).toBe("attach a DMA old=BLOCKED");
    expect(group.ownerCount).toBe(0);
  });

  it("a bound driver refuses a claim, a direct region refuses blocking before any driver call", () => {
    const bound = machine();
    bound.run(bound.core.useDefaultDomain(bound.device));
    expect(errno(() => bound.run(bound.core.claimGroup(groupOf(bound.device), "vfio")))).toBe("EPERM");
    const direct = machine({
      setup: (driver) => driver.regions.set("a", [{ page: 16, count: 1, prot: 3, type: "direct" }]),
    });
    expect(errno(() => direct.run(direct.core.claimGroup(groupOf(direct.device), "vfio")))).toBe("EINVAL");
    expect(direct.driver.log).toEqual([]);
    expect(groupOf(direct.device).domain?.type).toBe("DMA");
  });

  it("counts claims of one owner by device", () => {
    const { core, run, a, b } = pair();
    run(core.claimDevice(a, "iommufd"));
    run(core.claimDevice(b, "iommufd"));
    expect(errno(() => run(core.claimDevice(b, "other")))).toBe("EPERM");
    run(core.releaseDevice(a));
    expect(groupOf(a).domain?.type).toBe("BLOCKED");
    run(core.releaseDevice(b));
    expect(groupOf(a).domain?.type).toBe("DMA");
  });
});

describe("attach to a group of two", () => {
  it("rolls the first back when the second fails", () => {
    const { core, run, a, driver } = pair();
    driver.failures.set("attach b BLOCKED", 1);
    expect(errno(() => run(core.claimGroup(groupOf(a), "vfio")))).toBe("EIO");
    expect(driver.log).toEqual(["attach a BLOCKED old=DMA", "attach b BLOCKED old=DMA", "attach a DMA old=BLOCKED"]);
    expect(groupOf(a).domain?.type).toBe("DMA");
    expect(groupOf(a).owner).toBeUndefined();
  });

  it("a member that must not fail goes to the blocking domain", () => {
    const { core, run, a, driver } = pair();
    run(core.claimGroup(groupOf(a), "vfio"));
    driver.log.length = 0;
    driver.failures.set("attach a DMA", 1);
    run(core.releaseGroup(groupOf(a)));
    expect(driver.log).toEqual([
      "attach a DMA old=BLOCKED",
      "attach a BLOCKED old=BLOCKED",
      "attach b DMA old=BLOCKED",
    ]);
    expect(groupOf(a).domain?.type).toBe("DMA");
  });
});

describe("PASIDs", () => {
  it("checks in the kernel's order", () => {
    const { core, run, device } = machine();
    const domain = core.allocPaging(device, { pasid: true });
    expect(errno(() => run(core.attachPasid(domain, device, 0)))).toBe("EINVAL");
    expect(errno(() => run(core.attachPasid(domain, device, 16)))).toBe("EINVAL");
    run(core.attachPasid(domain, device, 1));
    expect(errno(() => run(core.attachPasid(domain, device, 1)))).toBe("EBUSY");
    expect(errno(() => run(core.replacePasid(domain, device, 1)))).toBe("EINVAL");
    expect(errno(() => run(core.replacePasid(domain, device, 2)))).toBe("EINVAL");
    const { setPasid: _none, ...without } = domain;
    expect(errno(() => run(core.attachPasid({ ...without, attach: domain.attach }, device, 2)))).toBe("EOPNOTSUPP");
  });

  it("leaves no member with a PASID that a later member refused", () => {
    const { core, run, a, driver } = pair();
    const domain = core.allocPaging(a, { pasid: true });
    driver.failures.set("pasid b UNMANAGED", 1);
    expect(errno(() => run(core.attachPasid(domain, a, 1)))).toBe("EIO");
    expect(driver.log.at(-1)).toBe("pasid a 1 BLOCKED old=UNMANAGED");
    expect(driver.pasids.size).toBe(0);
    expect(groupOf(a).pasids.size).toBe(0);
  });

  it("a failed replacement leaves every member on the old domain", () => {
    const { core, run, a, driver } = pair();
    const first = core.allocPaging(a, { pasid: true });
    const second = core.allocPaging(a, { pasid: true });
    run(core.attachPasid(first, a, 1));
    driver.log.length = 0;
    driver.failures.set("pasid b UNMANAGED", 1);
    expect(errno(() => run(core.replacePasid(second, a, 1)))).toBe("EIO");
    expect(driver.log).toEqual([
      "pasid a 1 UNMANAGED old=UNMANAGED",
      "pasid b 1 UNMANAGED old=UNMANAGED",
      "pasid a 1 UNMANAGED old=UNMANAGED",
    ]);
    expect([driver.pasids.get("a 1"), driver.pasids.get("b 1")]).toEqual([first, first]);
    expect(driver.pasids.get("a 1")).toBe(first);
    expect(groupOf(a).pasids.get(1)).toBe(first);
  });

  it("removal cannot fail", () => {
    const { core, run, device, driver } = machine();
    run(core.attachPasid(core.allocPaging(device, { pasid: true }), device, 1));
    run(core.detachPasid(device, 1));
    expect(driver.log.at(-1)).toBe("pasid a 1 BLOCKED old=UNMANAGED");
    expect(groupOf(device).pasids.size).toBe(0);
  });
});

describe("reset staging", () => {
  it("blocks RID then PASIDs, and puts both back", () => {
    const { core, run, device, driver } = machine();
    const group = groupOf(device);
    run(core.attachPasid(core.allocPaging(device, { pasid: true }), device, 1));
    driver.log.length = 0;
    run(core.resetPrepare(device));
    expect(driver.log).toEqual(["attach a BLOCKED old=DMA", "pasid a 1 BLOCKED old=UNMANAGED"]);
    expect(group.domain?.type).toBe("DMA");
    expect(core.driverDomain(device)?.type).toBe("BLOCKED");
    driver.log.length = 0;
    run(core.resetDone(device));
    expect(driver.log).toEqual(["attach a DMA old=BLOCKED", "pasid a 1 UNMANAGED old=BLOCKED"]);
    expect(group.recoveryCount).toBe(0);
  });

  it("nests, refuses attaches meanwhile and allows detaches", () => {
    const { core, run, device, driver } = machine();
    const group = groupOf(device);
    run(core.attachPasid(core.allocPaging(device, { pasid: true }), device, 1));
    run(core.resetPrepare(device));
    run(core.resetPrepare(device));
    driver.log.length = 0;
    run(core.resetDone(device));
    expect(driver.log).toEqual([]);
    expect(errno(() => run(core.storeType(group, "identity")))).toBe("EBUSY");
    expect(errno(() => run(core.storeType(group, "DMA-FQ")))).toBe("0");
    expect(errno(() => run(core.attachPasid(core.allocPaging(device, { pasid: true }), device, 2)))).toBe("EBUSY");
    run(core.detachPasid(device, 1));
    run(core.resetDone(device));
    expect(driver.log).toEqual(["attach a DMA-FQ old=BLOCKED"]);
  });

  it("does nothing for a function without usable ATS, and warns at a done without prepare", () => {
    const platform = createPlatform({ kernel: linux("7.2"), plugins: [] });
    const driver = new FakeDriver();
    const plain = platform.run(platform.iommu.addDevice(busDevice("plain", { atsSupported: () => false })));
    const ats = platform.run(platform.iommu.addDevice(busDevice("ats")));
    platform.run(platform.iommu.registerDriver(driver));
    driver.log.length = 0;
    platform.run(platform.iommu.resetPrepare(plain));
    expect(driver.log).toEqual([]);
    const recorder = new Recorder(platform.trace);
    platform.run(platform.iommu.resetDone(ats));
    expect(recorder.events.map((event) => event.type)).toEqual(["warn"]);
  });
});

describe("release", () => {
  it("attaches the release domain, identity where a direct region must stay reachable", () => {
    const plain = machine();
    plain.run(plain.core.removeDevice(plain.device));
    expect(plain.driver.log).toEqual(["attach a BLOCKED old=DMA", "release a"]);
    expect(plain.core.groups).toEqual([]);
    expect(plain.driver.freed).toEqual(["DMA"]);
    const direct = machine({
      setup: (driver) => driver.regions.set("a", [{ page: 16, count: 1, prot: 3, type: "direct" }]),
    });
    direct.run(direct.core.removeDevice(direct.device));
    expect(direct.driver.log).toEqual(["attach a IDENTITY old=DMA", "release a"]);
  });
});

describe("causes in the trace", () => {
  it("what follows a failed attach or PASID is not caused by it", () => {
    const { core, platform, driver, a } = pair();
    const recorder = new Recorder(platform.trace);
    driver.failures.set("attach b BLOCKED", 1);
    driver.failures.set("pasid a UNMANAGED", 1);
    platform.run(
      (function* () {
        for (const op of [
          core.claimGroup(groupOf(a), "vfio"),
          core.attachPasid(core.allocPaging(a, { pasid: true }), a, 1),
        ]) {
          try {
            yield* op;
          } catch {
            platform.trace.emit("mark", { what: "after" });
          }
        }
      })(),
    );
    const events = recorder.events.map(({ type, cause }) => `${type} ${cause}`);
    expect(events).toEqual([
      "domain:attach 0",
      "domain:attached 1",
      "domain:attach 0",
      "domain:attached 3",
      "domain:attach 0",
      "domain:attached 5",
      "mark 0",
      "pasid:set 0",
      "pasid:done 8",
      "mark 0",
    ]);
  });
});

describe("hooks", () => {
  it("a veto fails the attach with its errno", () => {
    const platform = createPlatform({
      kernel: linux("7.2"),
      plugins: [
        {
          name: "veto",
          register: (host) =>
            host.add(HOOKS, {
              attach(_device, domain) {
                if (domain.type === "BLOCKED") {
                  throw new KernelError("EACCES", "not here");
                }
              },
            }),
        },
      ],
    });
    const driver = new FakeDriver();
    const device = platform.run(platform.iommu.addDevice(busDevice("a")));
    platform.run(platform.iommu.registerDriver(driver));
    expect(errno(() => platform.run(platform.iommu.claimGroup(groupOf(device), "vfio")))).toBe("EACCES");
    expect(groupOf(device).domain?.type).toBe("DMA");
  });
});
