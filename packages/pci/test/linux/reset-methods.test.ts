import { pciDev, pciSetPowerState, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { nic } from "../support.ts";
import { KernelLab, card, tried } from "./reset-lab.ts";

const NAME = "0000:01:00.0";

describe("which methods there are", () => {
  test.each([
    ["6.1", "flr af_flr pm bus"],
    ["6.12", "flr af_flr pm bus cxl_bus"],
    ["7.2", "flr af_flr pm cxl_bus"],
  ])("%s: all of a function below a CXL port that masks Secondary Bus Reset", (version, methods) => {
    const lab = new KernelLab(version, card({ advancedFeatures: true, noSoftReset: false }, { cxl: {} }));
    expect(lab.methods()).toBe(methods);
  });

  test.each([
    ["no FLR", { flr: false }, "bus"],
    ["D3hot loses state", { noSoftReset: false }, "flr pm bus"],
    ["FLR that breaks the device", { vendor: 0x8086, device: 0x1502 }, "bus"],
    ["a device that does not survive a bus reset", { vendor: 0x168c, device: 0x0030 }, "flr"],
    ["D3hot that resets nothing", { vendor: 0x15b3, device: 0xcb84, noSoftReset: false }, "flr bus"],
    ["a device with a way of its own", { vendor: 0x8086, device: 0x0953 }, "device_specific flr bus"],
    ["a Chelsio T4", { vendor: 0x1425, device: 0x4001, flr: false }, "device_specific bus"],
    ["another Chelsio", { vendor: 0x1425, device: 0x6001 }, "flr bus"],
    ["an 82599 VF without FLR", { vendor: 0x8086, device: 0x10ed, flr: false }, "device_specific bus"],
  ])("%s", (_name, endpoint, methods) => {
    expect(new KernelLab("7.2", card(endpoint)).methods()).toBe(methods);
  });

  test.each([
    ["6.1", "flr bus"],
    ["6.12", "flr bus"],
    ["7.2", "bus"],
  ])("MediaTek 7925 on %s", (version, methods) => {
    expect(new KernelLab(version, card({ vendor: 0x14c3, device: 0x7925 })).methods()).toBe(methods);
  });

  test("function 0 is still alone when it is looked at, its sibling is not", () => {
    const two = card({ multiFunction: true }, {}, { functions: [{ bdf: "01:00.1", config: nic }] });
    const lab = new KernelLab("7.2", two);
    expect([lab.methods(), lab.methods(0x101)]).toEqual(["flr bus", "flr"]);
    // Using it then finds the sibling: ENOTTY, so the next method; naming it is refused and the old list stays.
    expect(lab.store("bus")).toBe("EINVAL");
    expect(lab.methods()).toBe("flr bus");
    expect(lab.store("default")).toBe("0");
    expect(lab.methods()).toBe("flr");
  });

  test("_RST of firmware", () => {
    let works = true;
    const lab = new KernelLab("7.2", card(), { acpiResets: new Map([[NAME, () => works]]) });
    expect(lab.methods()).toBe("acpi flr bus");
    const recorder = lab.record();
    expect(lab.reset()).toBe("0");
    works = false;
    expect(lab.reset()).toBe("0");
    expect(tried(recorder.events)).toEqual(["acpi 0", "acpi ENOTTY", "flr 0"]);
  });

  test("a function on a root bus without FLR has none, and no files", () => {
    const lab = new KernelLab(
      "7.2",
      pciTopology({ integrated: [{ bdf: "00:05.0", config: { ...nic, flr: false, pcieType: 9 } }] }),
    );
    expect(lab.methods(0x28)).toBe("");
    expect([lab.reset(0x28), lab.store("flr", 0x28)]).toEqual(["ENOENT", "ENOENT"]);
  });
});

describe("reset_method", () => {
  test.each([
    ["flr", "0", "flr"],
    ["bus flr\n", "0", "bus flr"],
    ["  bus   flr ", "0", "bus flr"],
    ["flr flr", "0", "flr flr"],
    ["", "0", ""],
    ["\n", "0", ""],
    ["default", "0", "flr bus"],
    ["FLR", "EINVAL", "flr bus"],
    ["flr nonsense", "EINVAL", "flr bus"],
    ["pm", "EINVAL", "flr bus"],
    ["flr flr flr flr flr flr flr flr", "EINVAL", "flr bus"],
  ])("%j", (text, errno, methods) => {
    const lab = new KernelLab("7.2", card());
    expect([lab.store(text), lab.methods()]).toEqual([errno, methods]);
  });

  test("with all methods disabled a reset is ENOTTY, and default brings them back", () => {
    const lab = new KernelLab("7.2", card());
    lab.store("");
    expect(lab.reset()).toBe("ENOTTY");
    lab.store("default");
    expect(lab.reset()).toBe("0");
  });

  test("a device-specific way that is not first is worth a warning", () => {
    const lab = new KernelLab("7.2", card({ vendor: 0x8086, device: 0x0953 }));
    const recorder = lab.record();
    lab.store("flr");
    expect(recorder.events.filter(({ type }) => type === "warn")).toMatchObject([{ where: "reset_method_store" }]);
  });

  test.each([
    ["7.2", "bus", [`${NAME} BLOCKED`, `${NAME} DMA`]],
    ["7.2", "default", [`${NAME} BLOCKED`, `${NAME} DMA`]],
    ["7.2", "flr", []],
    ["6.12", "bus", []],
    ["6.1", "default", []],
  ])(
    "%s: writing %s to a running function blocks and re-attaches it without a reset: %j",
    (version, text, attaches) => {
      const lab = new KernelLab(version, card());
      const recorder = lab.record();
      expect(lab.store(text)).toBe("0");
      expect(lab.driver.log).toEqual(attaches);
      expect(recorder.events.some(({ type }) => type === "device:reset")).toBe(false);
    },
  );

  test("7.2: a PROBE of bus that is refused has blocked and re-attached as well", () => {
    const two = card({ multiFunction: true }, {}, { functions: [{ bdf: "01:00.1", config: nic }] });
    const lab = new KernelLab("7.2", two);
    expect(lab.store("bus")).toBe("EINVAL");
    expect(lab.driver.log).toEqual([`${NAME} BLOCKED`, `${NAME} DMA`]);
  });

  test("7.2: a function with a way of its own is staged by every write that is not empty", () => {
    const lab = new KernelLab("7.2", card({ vendor: 0x8086, device: 0x0953 }));
    lab.store("flr");
    expect(lab.driver.log).toEqual([`${NAME} BLOCKED`, `${NAME} DMA`]);
  });
});

describe("each method resets, with the IOMMU told in 7.2 alone", () => {
  const everything = { advancedFeatures: true, noSoftReset: false } as const;
  const cases = ["flr", "af_flr", "pm", "bus", "acpi"].flatMap((method) =>
    ["6.1", "6.12", "7.2"].map((version) => [method, version] as const),
  );

  test.each(cases)("%s on %s", (method, version) => {
    const lab = new KernelLab(version, card(everything), { acpiResets: new Map([[NAME, () => true]]) });
    expect(lab.store(method)).toBe("0");
    lab.driver.log.length = 0;
    const before = pciDev(lab.device()).config.toBytes();
    const recorder = lab.record();
    expect(lab.reset()).toBe("0");
    expect(lab.driver.log).toEqual(version === "7.2" ? [`${NAME} BLOCKED`, `${NAME} DMA`] : []);
    const resets = recorder.events.flatMap((event) => (event.type === "device:reset" ? [event.kind] : []));
    const kind = { flr: "flr", af_flr: "af-flr", pm: "d3hot-d0", bus: "secondary-bus", acpi: undefined }[method];
    expect(resets).toEqual(kind === undefined ? [] : [kind, kind]);
    // Whatever the reset took is back.
    expect(pciDev(lab.device()).config.toBytes()).toEqual(before);
    expect(pciDev(lab.device()).lock.held).toBe(false);
  });

  test.each([
    ["flr", 100],
    ["af_flr", 100],
    ["pm", 20],
    // 2 ms of reset, 20 ms before the link is looked at, 1 ms until it is active, and 100 ms after that.
    ["bus", 123],
    ["acpi", 0],
  ])("%s takes %i ms", (method, ms) => {
    const lab = new KernelLab("7.2", card(everything), { acpiResets: new Map([[NAME, () => true]]) });
    lab.store(method);
    lab.reset();
    expect(lab.platform.clock.now / 1_000_000).toBe(ms);
  });

  test("pm of a function in D3hot ends the search with EINVAL", () => {
    const lab = new KernelLab("7.2", card(everything));
    lab.platform.run(pciSetPowerState(pciDev(lab.device()), "D3hot"));
    lab.store("pm bus");
    const recorder = lab.record();
    expect(lab.errno(lab.bus.resets.resetFunctionLocked(lab.device()))).toBe("EINVAL");
    expect(tried(recorder.events)).toEqual(["pm EINVAL"]);
  });

  test("a driver that goes through D3hot itself loses ATS without the kernel knowing", () => {
    const lab = new KernelLab("7.2", card(everything));
    const dev = pciDev(lab.device());
    lab.platform.run(pciSetPowerState(dev, "D3hot"));
    lab.platform.run(pciSetPowerState(dev, "D0"));
    expect([dev.atsEnabled, dev.read16(dev.atsCap + 6) & 0x8000]).toEqual([true, 0]);
  });

  test("cxl_bus lifts the mask meanwhile, and stages once though it nests", () => {
    const lab = new KernelLab("7.2", card({}, { cxl: {} }));
    lab.store("cxl_bus");
    lab.driver.log.length = 0;
    const recorder = lab.record();
    expect(lab.reset()).toBe("0");
    const events = recorder.events.flatMap((event) => {
      if (event.type === "reset:prepare" || event.type === "reset:done") {
        return [`${event.type} ${event.depth}`];
      }
      return event.type === "config:write" && event.device === "0000:00:01.0" ? [event.register] : [];
    });
    expect(events).toEqual([
      "reset:prepare 1",
      "CXL Port Control",
      "reset:prepare 2",
      "Bridge Control",
      "Bridge Control",
      "reset:done 1",
      "CXL Port Control",
      "reset:done 0",
    ]);
    expect(lab.driver.log).toEqual([`${NAME} BLOCKED`, `${NAME} DMA`]);
    expect(recorder.events.filter(({ type }) => type === "device:reset")).toHaveLength(2);
  });

  test.each([
    ["6.12", "bus", "ENOTTY"],
    ["7.2", "cxl_bus", "0"],
    ["6.12", "cxl_bus", "0"],
  ])("%s: %s below a port that masks Secondary Bus Reset", (version, method, errno) => {
    const lab = new KernelLab(version, card({}, { cxl: {} }));
    lab.store(method);
    expect(lab.reset()).toBe(errno);
  });

  test("6.1 knows no mask: it believes that it has reset", () => {
    const lab = new KernelLab("6.1", card({}, { cxl: {} }));
    lab.store("bus");
    const recorder = lab.record();
    expect(lab.reset()).toBe("0");
    expect(recorder.events.some(({ type }) => type === "device:reset")).toBe(false);
  });

  test("a hot-plug slot that the kernel drives resets the whole slot", () => {
    const two = card({ flr: false }, { hotplug: true }, { functions: [{ bdf: "01:00.1", config: nic }] });
    const lab = new KernelLab("7.2", two);
    // Function 0 has no multi-function bit: function 1 is not even looked for, so function 0 is alone.
    expect(lab.bus.deviceAt(0x101)).toBeUndefined();
    expect(lab.reset()).toBe("0");
    const firmware = new KernelLab("7.2", two, { nativeHotplug: false });
    expect([pciDev(lab.device(0x08)).hotplugSlot, pciDev(firmware.device(0x08)).hotplugSlot]).toEqual([true, false]);
  });

  test.each([
    ["6.1", 1],
    ["6.12", 2],
    ["7.2", 2],
  ])("%s takes %i locks", (version, count) => {
    const lab = new KernelLab(version, card());
    const devs = [pciDev(lab.device()), pciDev(lab.device(0x08))];
    let held = 0;
    lab.platform.run(
      lab.bus.resetFunction(lab.device(), (point) => {
        held = point === "prepared" ? devs.filter((dev) => dev.lock.held).length : held;
      }),
    );
    expect(held).toBe(count);
  });

  test("VFIO's try does not wait for the lock", () => {
    const lab = new KernelLab("7.2", card());
    const dev = pciDev(lab.device());
    dev.lock.grant({ id: 99, name: "somebody" }, "exclusive");
    expect(lab.errno(lab.bus.resets.tryResetFunction(lab.device()))).toBe("EAGAIN");
    dev.lock.release();
    expect(lab.errno(lab.bus.resets.tryResetFunction(lab.device()))).toBe("0");
  });

  test("a driver's own FLR restores nothing, but in 7.2 the IOMMU brings ATS back", () => {
    for (const [version, ats] of [["6.12", 0] as const, ["7.2", 0x8000] as const]) {
      const lab = new KernelLab(version, card());
      const dev = pciDev(lab.device());
      lab.platform.run(lab.bus.resets.flr(lab.device()));
      expect([dev.atsEnabled, dev.read16(dev.atsCap + 6) & 0x8000, dev.read16(4) & 4]).toEqual([true, ats, 0]);
    }
  });
});

describe("SR-IOV", () => {
  const sriov = card(
    { sriov: { totalVfs: 2, vfDevice: 0x1042 } },
    {},
    { functions: [{ bdf: "01:00.1", config: { ...nic, flr: true }, virtualFunctionOf: "01:00.0" }] },
  );

  test("a PF's reset takes its VFs, and the kernel brings them back without telling the IOMMU about them", () => {
    const lab = new KernelLab("7.2", sriov);
    const vf = pciDev(lab.device(0x101));
    expect(vf.read16(vf.atsCap + 6) & 0x8000).toBe(0x8000);
    let during = 0;
    lab.platform.run(
      lab.bus.resetFunction(lab.device(), (point) => {
        during = point === "done" ? vf.read16(4) : during;
      }),
    );
    expect(during).toBe(0xffff);
    expect(lab.driver.log).toEqual([`${NAME} BLOCKED`, `${NAME} DMA`]);
    // The VF answers again; its ATS Enable is lost and the kernel does not know.
    expect([vf.atsEnabled, vf.read16(vf.atsCap + 6) & 0x8000, vf.read16(4)]).toEqual([true, 0, 0]);
  });

  test("a VF's own reset leaves the PF alone", () => {
    const lab = new KernelLab("7.2", sriov);
    expect(lab.methods(0x101)).toBe("flr");
    const before = pciDev(lab.device()).config.toBytes();
    expect(lab.reset(0x101)).toBe("0");
    expect(lab.driver.log).toEqual(["0000:01:00.1 BLOCKED", "0000:01:00.1 DMA"]);
    expect(pciDev(lab.device()).config.toBytes()).toEqual(before);
  });
});
