import { KernelError, Recorder, createPlatform, linux, schedule } from "@iommu-lab/core";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeDriver, busDevice } from "./fake-driver.ts";
import { errno, groupOf, machine, pair, share } from "./machine.ts";

const DIRECT = [{ page: 16, count: 1, prot: 3, type: "direct" }] as const;

describe("a failing probe", () => {
  it("tells a driver that had said yes", () => {
    const { core, run, driver } = machine();
    driver.failures.set("group b", 1);
    const b = run(core.addDevice(busDevice("b")));
    expect(driver.log).toEqual(["probe b", "release b"]);
    expect([b.iommu, b.group]).toEqual([undefined, undefined]);
  });

  it("a first attach that fails fails the probe, and the group is left for release to clean", () => {
    const { core, run, driver, warnings } = machine();
    driver.failures.set("attach b DMA", 1);
    const b = run(core.addDevice(busDevice("b")));
    expect(warnings()).toEqual(["iommu_setup_default_domain"]);
    expect(driver.log).toEqual(["probe b", "attach b DMA old=none", "attach b BLOCKED old=DMA", "release b"]);
    expect(b.group).toBeUndefined();
    const other = new FakeDriver();
    const platform = createPlatform({ kernel: linux("7.2"), plugins: [] });
    const c = platform.run(platform.iommu.addDevice(busDevice("c")));
    other.failures.set("attach c DMA", 1);
    expect(errno(() => platform.run(platform.iommu.registerDriver(other)))).toBe("EIO");
    expect(c.group).toBeUndefined();
  });

  it("does not ask how the bus configured the device", () => {
    const { core, run } = machine();
    const bus = busDevice("b", {
      // eslint-disable-next-line require-yield
      *dmaConfigure() {
        throw new KernelError("EPROBE_DEFER", "firmware");
      },
    });
    expect(run(core.addDevice(bus)).group?.domain?.type).toBe("DMA");
  });

  it("a device that cannot join leaves at once: nobody sees it in the group", () => {
    const { core, platform, run, driver, device } = machine();
    const group = groupOf(device);
    run(core.claimGroup(group, "vfio"));
    share(driver, "b");
    driver.regions.set("b", [...DIRECT]);
    driver.log.length = 0;
    const recorder = new Recorder(platform.trace);
    const b = run(core.addDevice(busDevice("b")));
    expect(b.group).toBeUndefined();
    expect(group.members.map((member) => member.device)).toEqual([device]);
    expect(driver.log).toEqual(["probe b", "map 0x10+1", "attach b IDENTITY old=BLOCKED", "release b"]);
    expect(recorder.events.flatMap((event) => (event.type === "warn" ? [event.where] : []))).toEqual([
      "__iommu_device_set_domain",
    ]);
  });
});

describe("a device that joins", () => {
  it("is on what the group is on, an owner's domain included", () => {
    const { core, run, driver, device } = machine();
    const group = groupOf(device);
    run(core.claimGroup(group, "vfio"));
    share(driver, "b");
    const b = run(core.addDevice(busDevice("b")));
    expect(b.group).toBe(group);
    expect(driver.rid.get("b")?.type).toBe("BLOCKED");
    const user = core.allocPaging(device, { pasid: false });
    run(core.attachGroup(user, group));
    driver.hints.set("c", () => group);
    run(core.addDevice(busDevice("c")));
    expect(driver.rid.get("c")).toBe(user);
  });

  it("may join while another member is being reset", () => {
    const { core, run, driver, device } = machine();
    run(core.resetPrepare(device));
    share(driver, "b");
    run(core.addDevice(busDevice("b")));
    expect([driver.rid.get("a")?.type, driver.rid.get("b")?.type]).toEqual(["BLOCKED", "DMA"]);
  });

  it("two devices of one group that are added at once find each other under any schedule", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 30 }), (indices) => {
        const { core, platform, driver } = machine();
        for (const name of ["b", "c"]) {
          driver.hints.set(name, () => driver.asked.find((one) => one.name !== "a")?.group ?? "new");
        }
        const ops = ["b", "c"].map((name) => ({ name, op: core.addDevice(busDevice(name)) }));
        const outcomes = platform.scheduler.runAll(ops, schedule(indices));
        const [b, c] = outcomes.map((outcome) => (outcome.ok ? outcome.value : undefined));
        expect(b?.group).toBeDefined();
        expect(c?.group).toBe(b?.group);
        // One is probed and attached before the other's probe begins; only probe_finalize may run later.
        const names = driver.log.flatMap((line) => (line.startsWith("finalize") ? [] : [line.split(" ")[1]]));
        expect([names[0], names[2]]).toEqual([names[1], names[3]]);
        expect(names).toHaveLength(4);
      }),
      { numRuns: 50 },
    );
  });
});

describe("groups", () => {
  it("take the lowest free number, and an empty group is gone", () => {
    const { core, run, devices } = machine({ names: ["a", "b", "c"] });
    const [, b] = devices;
    expect(core.groups.map(({ id }) => id)).toEqual([0, 1, 2]);
    if (b !== undefined) {
      run(core.removeDevice(b));
    }
    expect(groupOf(run(core.addDevice(busDevice("d")))).id).toBe(1);
    expect(groupOf(run(core.addDevice(busDevice("e")))).id).toBe(3);
  });

  it("warn when the last member leaves an owned group", () => {
    const { core, run, device, warnings } = machine();
    run(core.claimGroup(groupOf(device), "vfio"));
    run(core.removeDevice(device));
    expect(warnings()).toEqual(["__iommu_group_free_device"]);
    expect(groupOf(run(core.addDevice(busDevice("b")))).id).toBe(1);
  });

  it("a release domain that the driver refuses is no WARN, and a device is released once", () => {
    const { core, platform, driver, a, b, warnings } = pair();
    driver.failures.set("attach a BLOCKED", 1);
    const group = groupOf(a);
    platform.scheduler.runAll(
      [
        { name: "first", op: core.removeDevice(a) },
        { name: "second", op: core.removeDevice(a) },
      ],
      schedule([0, 1, 0, 1, 0, 1]),
    );
    expect(warnings()).toEqual([]);
    expect(driver.log).toEqual(["attach a BLOCKED old=DMA", "release a"]);
    expect(group.members.map((member) => member.device)).toEqual([b]);
  });
});
