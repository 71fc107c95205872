import type { Plugin } from "@iommu-lab/core";
import { BOOT, InputError, KernelError, MMIO, preempt } from "@iommu-lab/core";
import { NO_PASID, PCI_BUS, pciDev } from "@iommu-lab/pci";
import { describe, expect, it } from "vitest";
import { probeFeatures } from "../../src/driver/features.ts";
import type { IdRegisters } from "../../src/layout/id-registers.ts";
import { REG } from "../../src/layout/registers.ts";
import { type Smmuv3Options, idRegistersOf, smmuv3 } from "../../src/plugin.ts";
import { ACCELERATOR, Lab, NIC, RECORDED, WITHOUT_PASID } from "../support/lab.ts";

const BASE = 0x09050000;

/** A boot step between the scan of the bus and the SMMU driver, or of firmware. */
function bootStep(order: number, run: Plugin["register"]): Plugin {
  return {
    name: "test",
    register(host) {
      host.add(BOOT, {
        name: "test",
        order,
        *run() {
          yield preempt;
          run(host);
        },
      });
    },
  };
}

function decisions(lab: Lab): string[] {
  const texts: string[] = [];
  for (const event of lab.recorder.events) {
    if (event.type === "decision") {
      texts.push(`${event.rule}: ${event.answer} [${event.basis}]`);
    }
  }
  return texts;
}

function registerWrites(lab: Lab): string[] {
  const texts: string[] = [];
  for (const event of lab.recorder.events) {
    if (event.type === "mmio:write" && event.offset !== REG.cmdqProd) {
      texts.push(`${event.offset.toString(16)}=${event.value.toString(16)}`);
    }
  }
  return texts;
}

describe("bring-up", () => {
  it("writes the registers in the kernel's order", () => {
    const lab = new Lab();
    const register = (offset: number): string => lab.hardware.read32(offset).toString(16);
    expect(registerWrites(lab)).toEqual([
      "20=0",
      "28=d75",
      "2c=6",
      `80=${register(REG.strtabBase)}`,
      "88=10210",
      `90=${register(REG.cmdqBase)}`,
      "9c=0",
      "20=8",
      `a0=${register(REG.eventqBase)}`,
      "100a8=0",
      "100ac=0",
      "20=c",
      `c0=${register(REG.priqBase)}`,
      "100c8=0",
      "100cc=0",
      "20=e",
      "20=1e",
      "50=0",
      "68=0",
      "b0=0",
      "d0=0",
      "50=7",
      "20=1f",
    ]);
    expect(lab.hardware.read32(REG.cr0Ack)).toBe(0x1f);
  });

  it("without PRI and ATS", () => {
    const lab = new Lab({ smmu: { pri: false, ats: false } });
    expect(lab.hardware.read32(REG.cr0Ack)).toBe(0xd);
    expect(lab.hardware.read32(REG.irqCtrlAck)).toBe(5);
  });

  it("of an SMMU that firmware left on: it aborts everything before it is off", () => {
    const leftOn = bootStep(100, (host) => host.get(MMIO).write32(BASE + REG.cr0, 1));
    const lab = new Lab({ plugins: [leftOn] });
    expect(registerWrites(lab).slice(1, 3)).toEqual(["44=80100000", "20=0"]);
    expect(lab.hardware.read32(REG.gbpa)).toBe(0x100000);
  });

  it("a linear stream table up to 8 StreamID bits, two levels above", () => {
    const linear = new Lab({ smmu: { sidBits: 8, instances: [{ serves: [{ first: 0, last: 0xff }] }] } });
    expect(linear.hardware.read32(REG.strtabBaseCfg)).toBe(8);
    expect(linear.deviceAt("00:01.0").iommu).toBeDefined();
    const large = new Lab({ smmu: { sidBits: 32 } });
    expect(large.hardware.read32(REG.strtabBaseCfg)).toBe(0x10219);
  });

  it("a SYNC may tell by a message into its own slot", () => {
    const lab = new Lab({ smmu: { idr: { idr0: 0x0dcd149b | 0x2000 } } });
    const sync = lab.recorder.events.find((event) => event.type === "command:submit" && event.opcode === "SYNC");
    expect(sync).toMatchObject({ words: ["0x000000000fc01046", expect.stringMatching(/^0x0*4[\da-f]{7}$/)] });
    expect(lab.atsEnabled).toBe(true);
  });
});

describe("an SMMU that the driver refuses", () => {
  const good: IdRegisters = { idr0: 0x0dcd149b, idr1: 0x0a108510, idr3: 0x1414, idr5: 0x75 };

  function refusal(change: Partial<IdRegisters>): string {
    const id = { ...good, ...change };
    const values = new Map([
      [REG.idr0, id.idr0],
      [REG.idr1, id.idr1],
      [REG.idr3, id.idr3],
      [REG.idr5, id.idr5],
    ] as [number, number][]);
    try {
      probeFeatures((offset) => values.get(offset) ?? 0, { vhe: true });
      return "";
    } catch (error) {
      return error instanceof KernelError ? error.errno : String(error);
    }
  }

  it.each([
    ["nothing wrong", {}, ""],
    ["big-endian tables", { idr0: 0x0dcd149b | 0x600000 }, "ENXIO"],
    ["AArch32 tables alone", { idr0: (0x0dcd149b & ~0xc) | 4 }, "ENXIO"],
    ["no stage", { idr0: 0x0dcd149b & ~3 }, "ENXIO"],
    ["preset queues", { idr1: 0x2a108510 }, "ENXIO"],
    ["64 commands", { idr1: (0x0a108510 & ~0x3e00000) | (6 << 21) }, "ENXIO"],
  ])("%s", (_what, change, errno) => {
    expect(refusal(change)).toBe(errno);
  });

  it("is left off, and its devices are not translated", () => {
    const lab = new Lab({ smmu: { idr: { idr1: 0x2a108510 } } });
    expect(lab.device.iommu).toBeUndefined();
    expect(lab.since(0).at(-1)).toMatch(/Failed to register iommu: ENXIO/);
    expect(lab.endpoint.untranslatedWrite(0x50000, 0, 1).status).toBe("success");
  });
});

describe("a function's probe", () => {
  it("enables PASID, writes the STU, then attaches", () => {
    const lab = new Lab();
    const order = lab.recorder.events
      .filter((event) => event.type === "config:write" && event.device === "0000:01:00.0")
      .map((event) => (event.type === "config:write" ? `${event.register} ${event.after}` : ""));
    expect(order).toEqual(["PASID Control 7", "ATS Control 0", "ATS Control 32768"]);
    expect(lab.pciDev.atsStu).toBe(12);
    expect(lab.device.iommu?.maxPasids).toBe(2 ** 20);
  });

  it("PASIDs end where function or SMMU ends", () => {
    expect(new Lab({ smmu: { ssidBits: 8 } }).device.iommu?.maxPasids).toBe(256);
    expect(new Lab({ device: WITHOUT_PASID }).device.iommu?.maxPasids).toBe(0);
  });

  it("every stream of a bus starts by aborting", () => {
    const lab = new Lab();
    expect(lab.ste(0x1f8)).toEqual(["0x1", "0x0"]);
  });

  it("the window for doorbells of users' domains is reserved", () => {
    const lab = new Lab();
    expect(lab.driver.reservedRegions(lab.device)).toMatchObject([{ page: 0x8000, count: 256, type: "sw-msi" }]);
  });

  it("HiSilicon's trace device wants IDENTITY", () => {
    const lab = new Lab({ device: { ...WITHOUT_PASID, vendor: 0x19e5, device: 0xa12e } });
    expect(lab.group.domain?.type).toBe("IDENTITY");
  });

  it("a StreamID beyond the table takes the SMMU from all", () => {
    const lab = new Lab({ smmu: { sidBits: 8 } });
    expect(lab.since(0).some((text) => text.includes("ERANGE"))).toBe(true);
    expect(lab.deviceAt("00:01.0").iommu).toBeUndefined();
    expect(lab.hardware.read32(REG.cr0Ack)).toBe(0);
  });

  it("of two functions with one StreamID the first has it; the second has no IOMMU", () => {
    const alias = bootStep(250, (host) => {
      const device = host.get(PCI_BUS).deviceAt("01:00.1");
      if (device !== undefined) {
        pciDev(device).dmaAliases = [0];
      }
    });
    const lab = new Lab({
      device: { ...WITHOUT_PASID, multiFunction: true },
      functions: [{ bdf: "01:00.1", config: WITHOUT_PASID }],
      plugins: [alias],
    });
    const second = lab.deviceAt("01:00.1");
    expect(second.iommu).toBeUndefined();
    expect(lab.recorder.events).toContainEqual(
      expect.objectContaining({ type: "device:probe", device: "0000:01:00.1", result: "ENODEV" }),
    );
    expect(lab.ste(0x101)).toEqual(["0x1", "0x0"]);
    expect(lab.device.iommu).toBeDefined();
  });

  it("after its removal and a rescan it is probed again", () => {
    const lab = new Lab();
    lab.run(lab.bus.remove(lab.device));
    expect(lab.bus.deviceAt("01:00.0")).toBeUndefined();
    lab.run(lab.bus.scan());
    expect(lab.atsEnabled).toBe(true);
  });
});

describe("ATS", () => {
  it.each([
    ["the SMMU lacks it", { smmu: { ats: false } }],
    ["firmware does not name it", { smmu: { rootComplexAts: false } }],
    ["pci=noats, and the port blocks translations", { kernel: { cmdline: "pci=noats" } }],
  ])("is never on when %s", (_what, options) => {
    const lab = new Lab(options);
    expect(lab.atsEnabled).toBe(false);
    expect(lab.ste()[1]).toBe("0xd6");
    expect(lab.driver.believesAtsEnabled(lab.device)).toBe(false);
    lab.endpoint.obeys.enable = false;
    expect(lab.endpoint.translationRequest(1).status).not.toBe("success");
  });

  it("says why", () => {
    expect(decisions(new Lab({ smmu: { rootComplexAts: false } }))).toEqual(["smmuv3-on-demand: ATS off [source]"]);
    expect(decisions(new Lab())).toEqual(["smmuv3-on-demand: ATS on [recorded]"]);
    expect(decisions(new Lab({ device: ACCELERATOR }))).toEqual([
      "smmuv3-ats-always-on: ATS stays on while the RID is on IDENTITY [recorded]",
      "smmuv3-on-demand: ATS on [recorded]",
    ]);
  });

  it("of a VF whose PF has another STU fails, and the driver believes that it is on", () => {
    const lab = new Lab({
      device: { ...NIC, sriov: { totalVfs: 1, vfDevice: 0x1041 } },
      functions: [{ rid: 0x101, virtualFunctionOf: 0x100, config: { ...WITHOUT_PASID, ats: { queueDepth: 32 } } }],
    });
    const vf = lab.deviceAt("01:00.1");
    lab.run(lab.platform.iommu.storeType(lab.deviceAt("01:00.1").group ?? lab.group, "identity"));
    lab.pciDev.atsStu = 16;
    const steps = lab.steps(lab.platform.iommu.storeType(vf.group ?? lab.group, "DMA"));
    expect(steps.at(-1)).toMatch(/^warn: smmu0: Failed to enable ATS \(STU 12\)/);
    expect(lab.driver.believesAtsEnabled(vf)).toBe(true);
    expect(pciDev(vf).atsEnabled).toBe(false);
    expect(lab.steps(lab.platform.iommu.storeType(vf.group ?? lab.group, "identity"))[0]).toMatch(
      /^warn: 0000:01:00\.1: ATS is not enabled/,
    );
  });
});

describe("a function that requires ATS", () => {
  it.each([
    ["the SMMU lacks ATS", { ats: false }],
    ["firmware does not name it", { rootComplexAts: false }],
    ["the SMMU lacks SubstreamIDs", { ssidBits: 0 }],
  ])("takes the whole SMMU down when %s", (_what, smmu: Smmuv3Options) => {
    const lab = new Lab({ device: ACCELERATOR, smmu });
    expect(lab.recorder.events).toContainEqual(
      expect.objectContaining({ type: "device:probe", device: "0000:01:00.0", result: "EOPNOTSUPP" }),
    );
    expect(lab.device.iommu).toBeUndefined();
    expect(lab.deviceAt("00:01.0").iommu).toBeUndefined();
    expect(lab.pciDev.pasidEnabled).toBe(false);
    expect(lab.hardware.read32(REG.cr0Ack)).toBe(0);
    // The SMMU is off and GBPA lets everything pass.
    expect(lab.endpoint.untranslatedWrite(0x50000, 0, 1).status).toBe("success");
    expect(decisions(lab)[0]).toMatch(/^smmuv3-ats-required: probe refused: EOPNOTSUPP/);
  });

  it("is like any other with pci=noats", () => {
    const lab = new Lab({ device: ACCELERATOR, kernel: { cmdline: "pci=noats iommu.passthrough=1" } });
    expect(lab.ste()).toEqual(["0x9", "0x0"]);
    expect(lab.atsEnabled).toBe(false);
  });
});

describe("options", () => {
  it("become ID registers", () => {
    expect(idRegistersOf({})).toEqual({ idr0: 0x0d4d141b, idr1: 0x02108510, idr3: 0x1414, idr5: 0x75 });
    expect(idRegistersOf({ ssidBits: 5, sidBits: 8, oas: 44, attributeOverride: true })).toMatchObject({
      idr1: 0x0a108148,
      idr5: 0x74,
    });
    expect(idRegistersOf(RECORDED)).toEqual(RECORDED.idr);
    expect(idRegistersOf({ ats: false, idr: { idr1: 7 } })).toMatchObject({ idr0: 0x0d4d101b, idr1: 7 });
  });

  it.each([
    [{ ssidBits: 21 }, "ssidBits is 21, expected 0 to 20"],
    [{ sidBits: 1.5 }, "sidBits is 1.5, expected 0 to 32"],
    [{ oas: 43 }, "oas is 43, expected 32, 36, 40, 42, 44, 48 or 52"],
  ])("%o is refused", (options, text) => {
    expect(() => smmuv3(options)).toThrow(InputError);
    expect(() => smmuv3(options)).toThrow(text);
  });
});

it("requests that arrive before the driver pass, and after it are translated", () => {
  const lab = new Lab();
  expect(lab.endpoint.untranslatedRead(0x50000, 0, NO_PASID).fault).toBe("F_TRANSLATION");
});
