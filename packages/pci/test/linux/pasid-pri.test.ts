import {
  type EndpointOptions,
  type PortAcs,
  endpointConfig,
  pciDisablePasid,
  pciDisablePri,
  pciEnablePasid,
  pciEnablePri,
  pciMaxPasids,
  pciPasidFeatures,
  pciPrgResponsePasidRequired,
  pciPriSupported,
  pciResetPri,
  pciRestorePasidState,
  pciRestorePriState,
  pciTopology,
  rootPortConfig,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, nic } from "../support.ts";

const VF = 0x101;
const vf = {
  bdf: "01:00.1",
  config: { vendor: 0x1af4, device: 0x1041, class: 0x020000 },
  virtualFunctionOf: "01:00.0",
} as const;

function booted(config: EndpointOptions = nic, acs: PortAcs | "none" = { capability: 0x1f, control: 0x1d }): Machine {
  const topology = pciTopology({
    rootPorts: [{ bdf: "00:01.0", acs, endpoint: { bdf: "01:00.0", config }, functions: [vf] }],
  });
  const machine = new Machine(topology);
  machine.platform.boot();
  return machine;
}

function register(machine: Machine, capability: number, offset: number, rid: number = NIC): number {
  const { config } = machine.fabric.endpoint(rid);
  return config.read16(config.findExtendedCapability(capability) + offset);
}

const { pasid: _pasid, ...withoutPasid } = nic;
const { pri: _pri, ...withoutPri } = nic;

describe("PASID", () => {
  test("enable writes Enable and the features, disable clears all", () => {
    const machine = booted();
    machine.run(pciEnablePasid(machine.dev(), 6));
    expect(register(machine, 0x1b, 6)).toBe(7);
    expect(machine.dev()).toMatchObject({ pasidEnabled: true, pasidFeatures: 6 });
    machine.run(pciDisablePasid(machine.dev()));
    expect(register(machine, 0x1b, 6)).toBe(0);
    expect(machine.dev().pasidEnabled).toBe(false);
  });

  test("EBUSY with WARN when enabled, WARN alone when disabled twice", () => {
    const machine = booted();
    machine.run(pciEnablePasid(machine.dev(), 0));
    expect(machine.errno(pciEnablePasid(machine.dev(), 0))).toBe("EBUSY");
    machine.run(pciDisablePasid(machine.dev()));
    const recorder = machine.record();
    machine.run(pciDisablePasid(machine.dev()));
    expect(recorder.events.map(({ type }) => type)).toEqual(["warn"]);
  });

  test("EINVAL for features that the function lacks", () => {
    const machine = booted({ ...nic, pasid: { width: 8, priv: true } });
    expect(pciPasidFeatures(machine.dev())).toBe(4);
    expect(machine.errno(pciEnablePasid(machine.dev(), 6))).toBe("EINVAL");
    expect(machine.errno(pciEnablePasid(machine.dev(), 4))).toBe("0");
  });

  test("EINVAL without redirect on the path; a control that a port lacks counts as on", () => {
    for (const [acs, errno] of [
      ["none", "EINVAL"],
      [{ capability: 0x1f, control: 0x04 }, "EINVAL"],
      [{ capability: 0x1f, control: 0x10 }, "EINVAL"],
      [{ capability: 0x1f, control: 0x14 }, "0"],
      [{ capability: 0x01, control: 0 }, "0"],
    ] as const) {
      const machine = booted(nic, acs);
      expect(machine.errno(pciEnablePasid(machine.dev(), 0))).toBe(errno);
    }
  });

  test("EINVAL without prefixes at the function or at a port above", () => {
    const topology = pciTopology({
      rootPorts: [
        {
          bdf: "00:01.0",
          config: rootPortConfig({
            secondary: 1,
            subordinate: 1,
            acs: { capability: 0x1f, control: 0x1d },
            endEndTlpPrefix: false,
          }),
          endpoint: { bdf: "01:00.0", config: nic },
        },
      ],
    });
    const machine = new Machine(topology);
    machine.platform.boot();
    expect(machine.dev().eetlpPrefixMax).toBe(0);
    expect(machine.errno(pciEnablePasid(machine.dev(), 0))).toBe("EINVAL");
  });

  test("without the capability: EINVAL, and the core sees no PASIDs", () => {
    const machine = booted(withoutPasid);
    expect(machine.errno(pciEnablePasid(machine.dev(), 0))).toBe("EINVAL");
    expect(() => pciMaxPasids(machine.dev())).toThrow(/EINVAL/);
    expect(() => pciPasidFeatures(machine.dev())).toThrow(/EINVAL/);
    expect(machine.dev().maxPasids()).toBe(0);
  });

  test("a VF is as its PF", () => {
    const machine = booted();
    expect(pciMaxPasids(machine.dev(VF))).toBe(2 ** 16);
    expect(machine.errno(pciEnablePasid(machine.dev(VF), 0))).toBe("EINVAL");
    machine.run(pciEnablePasid(machine.dev(), 6));
    expect(machine.errno(pciEnablePasid(machine.dev(VF), 0))).toBe("0");
    machine.run(pciDisablePasid(machine.dev(VF)));
    expect(register(machine, 0x1b, 6)).toBe(7);
  });

  test("restore writes Enable and features again", () => {
    const machine = booted();
    machine.run(pciEnablePasid(machine.dev(), 2));
    machine.nic.reset("flr");
    expect(register(machine, 0x1b, 6)).toBe(0);
    machine.run(pciRestorePasidState(machine.dev()));
    expect(register(machine, 0x1b, 6)).toBe(3);
  });

  test("an endpoint of the root complex needs no port", () => {
    const machine = new Machine(
      pciTopology({ integrated: [{ bdf: "00:02.0", config: endpointConfig({ ...nic, pcieType: 9 }) }] }),
    );
    machine.platform.boot();
    expect(machine.errno(pciEnablePasid(machine.dev(0x10), 6))).toBe("0");
  });
});

describe("PRI", () => {
  test("enable writes the allocation, then Enable", () => {
    const machine = booted();
    machine.run(pciResetPri(machine.dev()));
    const recorder = machine.record();
    machine.run(pciEnablePri(machine.dev(), 32));
    expect(register(machine, 0x13, 4)).toBe(1);
    expect(register(machine, 0x13, 12)).toBe(4);
    expect(recorder.events.flatMap((event) => (event.type === "config:write" ? [event.register] : []))).toEqual([
      "Outstanding Page Request Allocation",
      "PRI Control",
    ]);
    machine.run(pciDisablePri(machine.dev()));
    expect(register(machine, 0x13, 4)).toBe(0);
  });

  test("EBUSY when enabled (also for reset), and when it has not stopped", () => {
    const machine = booted();
    machine.run(pciEnablePri(machine.dev(), 32));
    expect(machine.errno(pciEnablePri(machine.dev(), 32))).toBe("EBUSY");
    expect(machine.errno(pciResetPri(machine.dev()))).toBe("EBUSY");
    const running = booted();
    const at = running.nic.config.findExtendedCapability(0x13) + 6;
    running.nic.config.poke16(at, 0x8000);
    expect(running.errno(pciEnablePri(running.dev(), 32))).toBe("EBUSY");
  });

  test("without the capability", () => {
    const machine = booted(withoutPri);
    expect(pciPriSupported(machine.dev())).toBe(false);
    expect(machine.errno(pciEnablePri(machine.dev(), 1))).toBe("EINVAL");
    expect(machine.errno(pciResetPri(machine.dev()))).toBe("EINVAL");
  });

  test("a VF shares its PF's interface", () => {
    const machine = booted();
    expect(pciPriSupported(machine.dev(VF))).toBe(true);
    expect(pciPrgResponsePasidRequired(machine.dev(VF))).toBe(true);
    expect(machine.errno(pciEnablePri(machine.dev(VF), 1))).toBe("EINVAL");
    machine.run(pciEnablePri(machine.dev(), 2));
    expect(machine.errno(pciEnablePri(machine.dev(VF), 1))).toBe("0");
    expect(machine.errno(pciResetPri(machine.dev(VF)))).toBe("0");
    machine.run(pciDisablePri(machine.dev(VF)));
    expect(register(machine, 0x13, 4)).toBe(1);
  });

  test("restore writes allocation and Enable again", () => {
    const machine = booted();
    machine.run(pciEnablePri(machine.dev(), 3));
    machine.nic.reset("flr");
    expect(register(machine, 0x13, 12)).toBe(0);
    machine.run(pciRestorePriState(machine.dev()));
    expect([register(machine, 0x13, 4), register(machine, 0x13, 12)]).toEqual([1, 3]);
  });

  test("PRG Response PASID Required is read at enumeration", () => {
    expect(pciPrgResponsePasidRequired(booted().dev())).toBe(true);
    const not = booted({ ...nic, pri: { responsePasidRequired: false } });
    expect(pciPrgResponsePasidRequired(not.dev())).toBe(false);
  });
});
