import { pciAcsEnabled, pciAcsPathEnabled, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, ROOT_PORT, nic } from "../support.ts";

interface Options {
  readonly acs?: number;
  readonly control?: number;
  readonly externalFacing?: boolean;
  readonly cmdline?: string;
}

/** A booted machine. */
function machineWith(options: Options, driver: boolean): Machine {
  const topology = pciTopology({
    rootPorts: [
      {
        bdf: "00:01.0",
        acs: { capability: options.acs ?? 0x5f, control: options.control ?? 0 },
        externalFacing: options.externalFacing ?? false,
        endpoint: { bdf: "01:00.0", config: nic },
      },
    ],
  });
  const machine = new Machine(topology, { cmdline: options.cmdline ?? "", driver });
  machine.platform.boot();
  return machine;
}

function control(machine: Machine, rid: number = ROOT_PORT): number {
  const { config } = machine.dev(rid);
  return config.read16(config.findExtendedCapability(0x0d) + 6);
}

function withDriver(options: Options = {}): Machine {
  return machineWith(options, true);
}

describe("enabling ACS", () => {
  test("waits for an IOMMU driver and happens before the first probe", () => {
    expect(control(machineWith({}, false))).toBe(0);
    const machine = withDriver();
    expect(control(machine)).toBe(0x1d);
    expect(machine.dev().pasidEnabled).toBe(true);
  });

  test("sets only what the port can, and leaves EC and DT as they are", () => {
    expect(control(withDriver({ acs: 0x05 }))).toBe(0x05);
    expect(control(withDriver({ control: 0x40 }))).toBe(0x5d);
  });

  test("adds Translation Blocking under pci=noats and at an external-facing port", () => {
    expect(control(withDriver({ cmdline: "pci=noats" }))).toBe(0x1f);
    expect(control(withDriver({ externalFacing: true }))).toBe(0x1f);
  });

  test("adds Translation Blocking to an untrusted function that has ACS itself", () => {
    const topology = pciTopology({
      rootPorts: [
        {
          bdf: "00:01.0",
          externalFacing: true,
          endpoint: { bdf: "01:00.0", config: { ...nic, acs: { capability: 0x1f } } },
        },
      ],
    });
    const machine = new Machine(topology, { driver: true });
    machine.platform.boot();
    expect(control(machine, NIC)).toBe(0x1f);
  });

  test("everything below an external-facing port is untrusted, however deep", () => {
    const topology = pciTopology({
      rootPorts: [
        {
          bdf: "00:01.0",
          externalFacing: true,
          switch: {
            bdf: "01:00.0",
            downstream: [{ bdf: "02:00.0", endpoint: { bdf: "03:00.0", config: nic } }],
          },
        },
      ],
    });
    const machine = new Machine(topology);
    machine.platform.boot();
    expect([ROOT_PORT, 0x100, 0x200, 0x300].map((rid) => machine.dev(rid).untrusted)).toEqual([
      false,
      true,
      true,
      true,
    ]);
  });

  test("a driver that binds without an IOMMU changes no control", () => {
    const machine = machineWith({ control: 0x01 }, false);
    machine.run(machine.bus.bind(machine.device(NIC), { name: "nic", managesDma: false }));
    expect(control(machine)).toBe(0x01);
  });
});

describe("isolation", () => {
  test("a missing control counts as on, Egress Control does not", () => {
    const machine = withDriver({ acs: 0x01 });
    expect(pciAcsEnabled(machine.dev(ROOT_PORT), 0x1d)).toBe(true);
    expect(pciAcsEnabled(machine.dev(ROOT_PORT), 0x20)).toBe(false);
  });

  test("a single-function endpoint is isolated without a capability; the path ends where it is told", () => {
    const machine = machineWith({}, false);
    expect(pciAcsEnabled(machine.dev(), 0x1d)).toBe(true);
    expect(pciAcsPathEnabled(machine.dev(), undefined, 0x1d)).toBe(false);
    expect(pciAcsPathEnabled(machine.dev(), machine.dev(), 0x1d)).toBe(true);
  });
});
