import {
  type EndpointOptions,
  pciAtsPageAligned,
  pciAtsQueueDepth,
  pciAtsRequired,
  pciAtsSupported,
  pciDisableAts,
  pciEnableAts,
  pciPrepareAts,
  pciRestoreAtsState,
  pciTopology,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, NIC, nic } from "../support.ts";

const VF = 0x101;

function booted(config: EndpointOptions = nic, options: { cmdline?: string; externalFacing?: boolean } = {}): Machine {
  const topology = pciTopology({
    rootPorts: [
      {
        bdf: "00:01.0",
        externalFacing: options.externalFacing ?? false,
        endpoint: { bdf: "01:00.0", config },
        functions: [
          {
            bdf: "01:00.1",
            config: { vendor: 0x1af4, device: 0x1041, class: 0x020000, ats: { queueDepth: 32 } },
            virtualFunctionOf: "01:00.0",
          },
        ],
      },
    ],
  });
  const machine = new Machine(topology, { cmdline: options.cmdline ?? "" });
  machine.platform.boot();
  return machine;
}

function control(machine: Machine, rid: number = NIC): number {
  const { config } = machine.fabric.endpoint(rid);
  return config.read16(config.findExtendedCapability(0x0f) + 6);
}

const { ats: _ats, ...withoutAts } = nic;

describe("ATS of a PF", () => {
  test("prepare writes the STU with Enable clear, enable both, disable clears Enable alone", () => {
    const machine = booted();
    machine.run(pciPrepareAts(machine.dev(), 16));
    expect(control(machine)).toBe(4);
    expect(machine.dev()).toMatchObject({ atsEnabled: false, atsStu: 16 });
    machine.run(pciEnableAts(machine.dev(), 14));
    expect(control(machine)).toBe(0x8002);
    expect(machine.dev().atsEnabled).toBe(true);
    machine.run(pciDisableAts(machine.dev()));
    expect(control(machine)).toBe(2);
    expect(machine.dev()).toMatchObject({ atsEnabled: false, atsStu: 14 });
  });

  test("prepare clears an Enable that firmware left", () => {
    const machine = booted();
    machine.setAts(true);
    machine.run(pciPrepareAts(machine.dev(), 12));
    expect(control(machine)).toBe(0);
  });

  test("enable says what was written and what reads back", () => {
    const machine = booted();
    const recorder = machine.record();
    machine.run(pciEnableAts(machine.dev(), 12));
    expect(recorder.events).toMatchObject([
      { type: "config:write", device: "0000:01:00.0", before: 0, after: 0x8000, register: "ATS Control" },
      { type: "capability:enable", capability: "ats", enabled: true },
    ]);
  });

  test("the operation can lose the CPU before the write, and the register changes only after", () => {
    const machine = booted();
    const op = pciEnableAts(machine.dev(), 12);
    expect(op.next()).toMatchObject({ done: false, value: { kind: "preempt" } });
    expect(control(machine)).toBe(0);
    expect(machine.dev().atsEnabled).toBe(false);
    expect(op.next().done).toBe(true);
    expect(control(machine)).toBe(0x8000);
  });

  test.each([
    ["prepare", pciPrepareAts],
    ["enable", pciEnableAts],
  ])("%s: EINVAL without the capability or below 4 KiB, EBUSY with WARN when enabled", (_name, op) => {
    const bare = booted(withoutAts);
    expect(bare.errno(op(bare.dev(), 12))).toBe("EINVAL");
    const machine = booted();
    expect(machine.errno(op(machine.dev(), 11))).toBe("EINVAL");
    machine.run(pciEnableAts(machine.dev(), 12));
    const recorder = machine.record();
    expect(machine.errno(op(machine.dev(), 12))).toBe("EBUSY");
    expect(recorder.events.map(({ type }) => type)).toEqual(["warn"]);
    expect(control(machine)).toBe(0x8000);
  });

  test("disable without enable is a WARN and no write", () => {
    const machine = booted();
    const recorder = machine.record();
    machine.run(pciDisableAts(machine.dev()));
    expect(recorder.events.map(({ type }) => type)).toEqual(["warn"]);
  });

  test("restore writes what the kernel believes, and nothing for a function that was only prepared", () => {
    const machine = booted();
    machine.run(pciPrepareAts(machine.dev(), 16));
    machine.nic.reset("flr");
    machine.run(pciRestoreAtsState(machine.dev()));
    expect(control(machine)).toBe(0);
    machine.run(pciEnableAts(machine.dev(), 16));
    machine.nic.reset("flr");
    machine.run(pciRestoreAtsState(machine.dev()));
    expect(control(machine)).toBe(0x8004);
  });

  test("queue depth 0 in the register means 32; Page Aligned Request as it reads", () => {
    const machine = booted();
    expect(pciAtsQueueDepth(machine.dev())).toBe(32);
    expect(pciAtsPageAligned(machine.dev())).toBe(true);
    const other = booted({ ...nic, ats: { queueDepth: 5, pageAligned: false } });
    expect(pciAtsQueueDepth(other.dev())).toBe(5);
    expect(pciAtsPageAligned(other.dev())).toBe(false);
    const bare = booted(withoutAts);
    expect(() => pciAtsQueueDepth(bare.dev())).toThrow(/EINVAL/);
    expect(pciAtsPageAligned(bare.dev())).toBe(false);
  });
});

describe("ATS of a VF", () => {
  test("prepare writes nothing; enable needs the PF's STU and writes Enable alone", () => {
    const machine = booted();
    const vf = machine.dev(VF);
    machine.run(pciPrepareAts(vf, 16));
    expect(control(machine, VF)).toBe(0);
    expect(machine.errno(pciEnableAts(vf, 16))).toBe("EINVAL");
    machine.run(pciPrepareAts(machine.dev(), 16));
    machine.run(pciEnableAts(vf, 16));
    expect(control(machine, VF)).toBe(0x8000);
    expect(control(machine)).toBe(4);
  });

  test("has no queue of its own", () => {
    expect(pciAtsQueueDepth(booted().dev(VF))).toBe(0);
  });
});

describe("where ATS is not usable", () => {
  test.each([
    ["pci=noats", { cmdline: "pci=noats" }],
    ["pci=nocrs,noats", { cmdline: "pci=nocrs,noats" }],
    ["an external-facing port", { externalFacing: true }],
  ])("%s", (_name, options) => {
    const machine = booted({ ...nic, cxl: { cache: true, mem: true } }, options);
    expect(pciAtsSupported(machine.dev())).toBe(false);
    expect(machine.dev().atsSupported()).toBe(false);
    expect(pciAtsRequired(machine.dev())).toBe(false);
    expect(machine.errno(pciEnableAts(machine.dev(), 12))).toBe("EINVAL");
  });

  test("pci=noats leaves no capability, an external-facing port leaves it unused", () => {
    expect(booted(nic, { cmdline: "pci=noats" }).dev().atsCap).toBe(0);
    const external = booted(nic, { externalFacing: true }).dev();
    expect(external.atsCap).toBe(0x100);
    expect(external.untrusted).toBe(true);
    expect(external.bridge).toMatchObject({ untrusted: false, externalFacing: true });
  });
});

describe("ATS-required", () => {
  test.each<[string, Partial<EndpointOptions>, boolean]>([
    ["a NIC", {}, false],
    ["CXL with Cache_Capable, disabled", { cxl: { cache: true, mem: false, cacheEnabled: false } }, true],
    ["CXL memory alone", { cxl: { cache: false, mem: true } }, false],
    ["NVIDIA 2e00", { vendor: 0x10de, device: 0x2e00 }, true],
    ["NVIDIA 2e3f", { vendor: 0x10de, device: 0x2e3f }, true],
    ["NVIDIA 2e40", { vendor: 0x10de, device: 0x2e40 }, false],
    ["Mellanox 2101", { vendor: 0x15b3, device: 0x2101 }, true],
    ["Mellanox 2102", { vendor: 0x15b3, device: 0x2102 }, false],
  ])("%s", (_name, change, required) => {
    const machine = booted({ ...nic, ...change });
    expect(pciAtsRequired(machine.dev())).toBe(required);
    expect(pciAtsRequired(machine.dev(VF))).toBe(required);
  });

  test("without an ATS capability nothing is required", () => {
    const machine = booted({ ...withoutAts, cxl: { cache: true, mem: true } });
    expect(pciAtsRequired(machine.dev())).toBe(false);
  });
});
