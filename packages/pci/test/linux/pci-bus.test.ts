import type { BootStep, LifecycleHooks, Plugin } from "@iommu-lab/core";
import { BOOT, Digest, HOOKS, IOMMU_CORE, KernelError } from "@iommu-lab/core";
import { PCI_BUS, pciDisableAts, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, ROOT_PORT, nic, oneNic } from "../support.ts";

const driver = { name: "nic", managesDma: false };
const vfio = { name: "vfio-pci", managesDma: true };

function hooked(hooks: LifecycleHooks): Plugin {
  return {
    name: "hooks",
    register: (host) => {
      host.add(HOOKS, hooks);
    },
  };
}

function withDriver(plugins: readonly Plugin[] = []): Machine {
  const machine = new Machine(oneNic, { plugins, driver: true });
  machine.platform.boot();
  return machine;
}

describe("the scan", () => {
  test("starts on every bus that no port leads to", () => {
    const machine = new Machine(
      pciTopology({
        rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: nic } }],
        integrated: [{ bdf: "6b:00.0", config: { ...nic, pcieType: 9 } }],
      }),
    );
    machine.platform.boot();
    expect(machine.bus.devices.map(({ name }) => name.slice(5))).toEqual(["00:01.0", "01:00.0", "6b:00.0"]);
    expect(machine.dev(0x6b00).bridge).toBeUndefined();
  });

  test("goes bus by bus and finds what answers", () => {
    const machine = new Machine(
      pciTopology({
        rootPorts: [
          { bdf: "00:03.0", endpoint: { bdf: "05:00.0", config: nic } },
          {
            bdf: "00:01.0",
            switch: {
              bdf: "01:00.0",
              downstream: [
                { bdf: "02:00.0", endpoint: { bdf: "03:00.0", config: nic } },
                { bdf: "02:01.0", endpoint: { bdf: "04:00.0", config: nic } },
              ],
            },
          },
        ],
        integrated: [{ bdf: "00:02.0", config: { ...nic, pcieType: 9 } }],
      }),
    );
    machine.platform.boot();
    expect(machine.bus.devices.map(({ name }) => name.slice(5))).toEqual([
      "00:01.0",
      "00:02.0",
      "00:03.0",
      "01:00.0",
      "02:00.0",
      "02:01.0",
      "03:00.0",
      "04:00.0",
      "05:00.0",
    ]);
    expect(machine.bus.deviceAt("04:00.0")?.name).toBe("0000:04:00.0");
    expect(machine.bus.deviceAt(0x400)).toBe(machine.bus.deviceAt("0000:04:00.0"));
    expect(machine.bus.deviceAt("06:00.0")).toBeUndefined();
    expect(machine.dev(0x400).bridge?.bridge?.bridge?.name).toBe("0000:00:01.0");
  });

  test("looks for functions 1 to 7 only where function 0 has several", () => {
    const functions = (multiFunction: boolean) =>
      pciTopology({
        rootPorts: [
          {
            bdf: "00:01.0",
            endpoint: { bdf: "01:00.0", config: { ...nic, multiFunction } },
            functions: [{ bdf: "01:00.3", config: nic }],
          },
        ],
      });
    const single = new Machine(functions(false));
    single.platform.boot();
    expect(single.bus.deviceAt("01:00.3")).toBeUndefined();
    const several = new Machine(functions(true));
    several.platform.boot();
    expect(several.dev(0x103)).toMatchObject({ multifunction: true });
  });

  test("looks at device 0 alone below a root port, and at all 32 below an upstream port", () => {
    const machine = new Machine(
      pciTopology({
        rootPorts: [
          {
            bdf: "00:01.0",
            endpoint: { bdf: "01:00.0", config: nic },
            functions: [{ bdf: "01:02.0", config: nic }],
          },
          {
            bdf: "00:02.0",
            switch: {
              bdf: "02:00.0",
              downstream: [{ bdf: "03:1f.0", endpoint: { bdf: "04:00.0", config: nic } }],
            },
          },
        ],
      }),
    );
    machine.platform.boot();
    expect(machine.bus.deviceAt("01:02.0")).toBeUndefined();
    expect(machine.bus.deviceAt("03:1f.0")).toBeDefined();
    expect(machine.bus.deviceAt("04:00.0")).toBeDefined();
  });

  test("reads what it keeps from the bytes", () => {
    const machine = new Machine();
    machine.platform.boot();
    expect(machine.dev()).toMatchObject({
      vendor: 0x1af4,
      device: 0x1041,
      class: 0x020000,
      headerType: 0,
      pcieType: 0,
      atsCap: 0x100,
      eetlpPrefixMax: 1,
      isVirtfn: false,
    });
    expect(machine.dev(ROOT_PORT)).toMatchObject({ headerType: 1, pcieType: 4, subordinateBus: 1 });
  });

  test("adds VFs after their PF; a plain scan cannot see them", () => {
    const machine = new Machine(
      pciTopology({
        rootPorts: [
          {
            bdf: "00:01.0",
            endpoint: {
              bdf: "01:00.0",
              config: { ...nic, multiFunction: true, sriov: { totalVfs: 1, vfDevice: 0x1042 } },
            },
            functions: [{ bdf: "01:00.1", config: nic, virtualFunctionOf: "01:00.0" }],
          },
        ],
      }),
    );
    machine.platform.boot();
    expect(machine.bus.devices.map(({ name }) => name.slice(5))).toEqual(["00:01.0", "01:00.0", "01:00.1"]);
    expect(machine.dev(0x101)).toMatchObject({ isVirtfn: true, vendor: 0x1af4, device: 0x1042 });
    expect(machine.dev(0x101).physfn).toBe(machine.dev());
  });

  test("comes between firmware and IOMMU drivers, and the port driver binds last", () => {
    const order: string[] = [];
    const step = (name: string, at: number): BootStep => ({
      name,
      order: at,
      *run(host) {
        order.push(`${name} ${host.get(IOMMU_CORE).devices.length}`);
        yield { kind: "preempt" };
      },
    });
    const steps: Plugin = {
      name: "steps",
      register: (host) => {
        host.add(BOOT, step("firmware", 100));
        host.add(BOOT, step("iommu", 300));
      },
    };
    const machine = new Machine(oneNic, { plugins: [steps] });
    machine.platform.boot();
    expect(order).toEqual(["firmware 0", "iommu 2"]);
    expect(machine.device(ROOT_PORT).driver?.name).toBe("pcieport");
    expect(machine.device().driver).toBeUndefined();
    expect(machine.platform.host.get(PCI_BUS)).toBe(machine.bus);
  });
});

describe("bind and unbind", () => {
  test("claim and give back the default domain, turn Bus Master on, and change no ATS", () => {
    const machine = withDriver();
    machine.setBusMaster(false);
    const { group } = machine.device();
    const recorder = machine.record();
    machine.run(machine.bus.bind(machine.device(), driver));
    expect(group?.ownerCount).toBe(1);
    expect(machine.nic.config.read16(4) & 4).toBe(4);
    machine.run(machine.bus.unbind(machine.device()));
    expect(group?.ownerCount).toBe(0);
    expect(machine.device().driver).toBeUndefined();
    const types = recorder.events.map(({ type }) => type);
    expect(types).not.toContain("capability:enable");
    expect(types).not.toContain("domain:attach");
    expect(recorder.events.filter(({ type }) => type.startsWith("driver:"))).toMatchObject([
      { type: "driver:bind", driver: "nic", result: "0" },
      { type: "driver:unbind", driver: "nic" },
    ]);
  });

  test("a driver that manages DMA itself claims nothing; Command is written only when it changes", () => {
    const machine = withDriver();
    const recorder = machine.record();
    const commandWrites = (): number =>
      recorder.events.filter((event) => event.type === "config:write" && event.register === "Command").length;
    machine.run(machine.bus.bind(machine.device(), vfio));
    expect(machine.device().group?.ownerCount).toBe(0);
    expect(commandWrites()).toBe(0);
    machine.run(machine.bus.unbind(machine.device()));
    expect(commandWrites()).toBe(1);
  });

  test("EBUSY in a group that somebody owns; vfio-pci may bind there", () => {
    const machine = withDriver();
    const { group } = machine.device();
    if (group === undefined) {
      throw new Error("no group");
    }
    machine.run(machine.platform.iommu.claimGroup(group, "user"));
    const recorder = machine.record();
    expect(machine.errno(machine.bus.bind(machine.device(), driver))).toBe("EBUSY");
    expect(recorder.events.at(-1)).toMatchObject({ type: "driver:bind", result: "EBUSY" });
    expect(machine.device().driver).toBeUndefined();
    expect(machine.errno(machine.bus.bind(machine.device(), vfio))).toBe("0");
  });

  test("EBUSY while another driver is bound, which stays", () => {
    const machine = withDriver();
    machine.run(machine.bus.bind(machine.device(), driver));
    expect(machine.errno(machine.bus.bind(machine.device(), vfio))).toBe("EBUSY");
    expect(machine.device().driver).toBe(driver);
    expect(machine.dev().lock.held).toBe(false);
  });

  test("a hook may veto a bind, and nothing stays claimed", () => {
    const unbound: string[] = [];
    const machine = withDriver([
      hooked({
        bind: (device) => {
          if (device.name === "0000:01:00.0") {
            throw new KernelError("EPERM", "not this one");
          }
        },
        unbind: (device) => unbound.push(device.name),
      }),
    ]);
    expect(machine.errno(machine.bus.bind(machine.device(), driver))).toBe("EPERM");
    expect(machine.device().group?.ownerCount).toBe(0);
    expect(machine.device().driver).toBeUndefined();
    machine.run(machine.bus.unbind(machine.device(ROOT_PORT)));
    expect(unbound).toEqual(["0000:00:01.0"]);
  });

  test("Bus Master is on while a driver is bound and off afterwards", () => {
    const machine = withDriver();
    const on = (): boolean => (machine.dev(NIC).read16(4) & 4) !== 0;
    machine.run(machine.bus.bind(machine.device(), driver));
    expect(on()).toBe(true);
    machine.run(machine.bus.unbind(machine.device()));
    expect(on()).toBe(false);
  });

  test("unbinding a device without a driver does nothing", () => {
    const machine = withDriver();
    const recorder = machine.record();
    machine.run(machine.bus.unbind(machine.device()));
    expect(recorder.events).toEqual([]);
  });
});

describe("removal", () => {
  test("unbinds, releases from the IOMMU, forgets; the function itself stays", () => {
    const machine = withDriver();
    machine.run(machine.bus.bind(machine.device(), driver));
    const recorder = machine.record();
    machine.run(machine.bus.remove(machine.device()));
    expect(machine.bus.deviceAt(NIC)).toBeUndefined();
    expect(machine.platform.iommu.deviceNamed("0000:01:00.0")).toBeUndefined();
    expect(machine.nic.atsEnabled).toBe(false);
    expect(machine.nic.present()).toBe(true);
    const types = recorder.events.map(({ type }) => type);
    expect(types.indexOf("driver:unbind")).toBeLessThan(types.indexOf("device:release"));
  });

  test("a scan brings a removed function back, probed anew, and leaves the rest as it was", () => {
    const machine = withDriver();
    const old = machine.device();
    const port = machine.device(ROOT_PORT);
    machine.run(machine.bus.remove(old));
    machine.run(machine.bus.scan());
    expect(machine.device()).not.toBe(old);
    expect(machine.device(ROOT_PORT)).toBe(port);
    expect(machine.bus.devices).toHaveLength(2);
    expect(machine.dev().bridge).toBe(machine.dev(ROOT_PORT));
    expect(machine.device().group?.members).toHaveLength(1);
    expect(machine.dev().atsEnabled).toBe(true);
  });

  test("a function above 0 that is scanned again is grouped before it counts as one of several", () => {
    const topology = pciTopology({
      rootPorts: [
        {
          bdf: "00:01.0",
          endpoint: { bdf: "01:00.0", config: { ...nic, multiFunction: true } },
          functions: [{ bdf: "01:00.1", config: nic }],
        },
      ],
    });
    const machine = new Machine(topology, { driver: true });
    machine.platform.boot();
    expect(machine.device().group?.members).toHaveLength(2);
    machine.run(machine.bus.remove(machine.device(0x101)));
    machine.run(machine.bus.scan());
    expect(machine.device().group?.members).toHaveLength(1);
    expect(machine.device(0x101).group?.members).toHaveLength(1);
    expect(machine.dev(0x101).multifunction).toBe(true);
  });

  test("a function that was pulled out is not found again", () => {
    const machine = withDriver();
    machine.nic.unplug();
    machine.run(machine.bus.remove(machine.device()));
    machine.run(machine.bus.scan());
    expect(machine.bus.deviceAt(NIC)).toBeUndefined();
  });
});

describe("digest", () => {
  test("tells beliefs and drivers apart", () => {
    const digestOf = (change: (machine: Machine) => void): string => {
      const machine = withDriver();
      change(machine);
      const into = new Digest();
      machine.bus.digest(into);
      return into.value;
    };
    const nothing = (): void => undefined;
    expect(digestOf(nothing)).toBe(digestOf(nothing));
    const values = [
      digestOf(nothing),
      digestOf((machine) => {
        machine.run(machine.bus.bind(machine.device(), driver));
      }),
      digestOf((machine) => {
        machine.run(pciDisableAts(machine.dev()));
      }),
      digestOf((machine) => {
        machine.run(machine.bus.remove(machine.device()));
      }),
    ];
    expect(new Set(values).size).toBe(values.length);
  });
});
