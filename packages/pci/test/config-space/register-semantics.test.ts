import {
  CAP_ID_EXP,
  CAP_ID_MSI,
  CAP_ID_PM,
  ConfigSpace,
  EXT_CAP_ID_ACS,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_SRIOV,
  endpointConfig,
  rootPortConfig,
} from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const endpoint = endpointConfig({
  vendor: 0x8086,
  device: 0x1592,
  class: 0x020000,
  ats: { queueDepth: 32 },
  pasid: { width: 20, priv: true },
  pri: {},
  acs: { capability: 0x0015 },
  ari: { nextFunction: 0 },
  sriov: { totalVfs: 8, vfDevice: 0x1889 },
});

/**
 * Which bits of that endpoint software can set, written down by hand from PCIe 6.0: offset, size, mask. Everything else
 * must stay as it was built.
 */
const writable: readonly (readonly [string, number, 1 | 2 | 4, number])[] = [
  ["Command", 0x04, 2, 0x0547],
  ["Cache Line Size", 0x0c, 1, 0xff],
  ["Interrupt Line", 0x3c, 1, 0xff],
  ["PM Control", 0x44, 2, 0x0103],
  ["MSI Control", 0x52, 2, 0x0071],
  ["MSI Address", 0x54, 4, 0xfffffffc],
  ["MSI Upper Address", 0x58, 4, 0xffffffff],
  ["MSI Data", 0x5c, 2, 0xffff],
  ["MSI Mask", 0x60, 4, 0xffffffff],
  ["Device Control", 0x78, 2, 0x7fff],
  ["Link Control", 0x80, 2, 0x02cb],
  ["Device Control 2", 0x98, 2, 0xe3cf & ~0x0400],
  ["Link Control 2", 0xa0, 2, 0xffbf],
  ["ATS Control", 0x106, 2, 0x801f],
  ["PASID Control", 0x116, 2, 0x0005],
  ["PRI Control", 0x124, 2, 0x0001],
  ["PRI Allocation", 0x12c, 4, 0xffffffff],
  ["ACS Control", 0x136, 2, 0x0015],
  ["ARI Control", 0x146, 2, 0x0070],
  ["SR-IOV Control", 0x158, 2, 0x0019],
  ["NumVFs", 0x160, 2, 0xffff],
  ["System Page Size", 0x170, 4, 0xffffffff],
];

/** Bits that survive a hot reset: PME_En, Auxiliary Power PM Enable, Link Control 2. */
const sticky: readonly (readonly [number, 1 | 2 | 4, number])[] = [
  [0x44, 2, 0x0100],
  [0x78, 2, 0x0400],
  [0xa0, 2, 0xffbf],
];
/** Bits that survive an FLR as well: Max_Payload_Size and the link's settings. */
const keptByFlr: readonly (readonly [number, 1 | 2 | 4, number])[] = [...sticky, [0x78, 2, 0x04e0], [0x80, 2, 0x02cb]];

/** One byte per config byte: the mask of the bits named. */
function maskOf(rows: readonly (readonly [number, 1 | 2 | 4, number])[]): Uint8Array {
  const mask = new Uint8Array(4096);
  for (const [offset, size, bits] of rows) {
    for (let index = 0; index < size; index += 1) {
      mask[offset + index] = (mask[offset + index] ?? 0) | ((bits >>> (8 * index)) & 0xff);
    }
  }
  return mask;
}

/** Where `bytes` differ from `from` in the bits that are 0 in the mask. */
function changedOutside(mask: Uint8Array, bytes: Uint8Array, from: Uint8Array = endpoint): string[] {
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += 1) {
    const changed = ((bytes[at] ?? 0) ^ (from[at] ?? 0)) & ~(mask[at] ?? 0);
    if (changed !== 0) {
      found.push(`0x${at.toString(16)}: 0x${changed.toString(16)}`);
    }
  }
  return found;
}

const anyWrite = fc.record({
  offset: fc.oneof(fc.nat({ max: 4095 }), fc.nat({ max: 0x180 })),
  size: fc.constantFrom(1 as const, 2 as const, 4 as const),
  value: fc.oneof(fc.constantFrom(0, 0xffffffff), fc.nat({ max: 0xffffffff })),
});

describe("software's writes", () => {
  test("ones reach exactly the writable bits", () => {
    const config = new ConfigSpace(endpoint);
    for (let offset = 0; offset < 4096; offset += 4) {
      config.write(offset, 4, 0xffffffff);
    }
    const mask = maskOf(writable.map(([, ...row]) => row));
    expect(changedOutside(mask, config.toBytes())).toEqual([]);
    const stuck = writable.filter(([, offset, , bits]) => ((config.read32(offset) & bits) ^ bits) !== 0);
    expect(stuck.map(([name]) => name)).toEqual([]);
  });

  test("no sequence of writes changes a read-only bit", () => {
    const mask = maskOf(writable.map(([, ...row]) => row));
    fc.assert(
      fc.property(fc.array(anyWrite, { maxLength: 40 }), (writes) => {
        const config = new ConfigSpace(endpoint);
        for (const { offset, size, value } of writes) {
          config.write(offset, size, value);
        }
        expect(changedOutside(mask, config.toBytes())).toEqual([]);
      }),
    );
  });

  test("four bytes at once do what four single bytes do", () => {
    fc.assert(
      fc.property(fc.nat({ max: 0x3ff }), fc.nat({ max: 0xffffffff }), (word, value) => {
        const whole = new ConfigSpace(endpoint);
        const parts = new ConfigSpace(endpoint);
        whole.write(4 * word, 4, value);
        for (let index = 0; index < 4; index += 1) {
          parts.write(4 * word + index, 1, (value >>> (8 * index)) & 0xff);
        }
        expect(changedOutside(new Uint8Array(4096), whole.toBytes(), parts.toBytes())).toEqual([]);
      }),
    );
  });

  test("RW1C bits are cleared by ones and kept by zeros", () => {
    const config = new ConfigSpace(endpoint);
    config.poke16(0x06, 0xf910);
    config.write(0x06, 2, 0x8100);
    expect(config.read16(0x06)).toBe(0x7810);
    config.write(0x04, 4, 0x0006);
    expect(config.read16(0x06)).toBe(0x7810);
  });

  test("actions are reported and read as 0", () => {
    const config = new ConfigSpace(endpoint);
    const started: number[] = [];
    config.onWrite((_offset, _size, _before, _after, bits) => started.push(bits));
    config.write(0x124, 2, 0x0002);
    config.write(0x78, 4, 0x8000);
    expect(started).toEqual([0x0002, 0x8000]);
    expect(config.read16(0x124)).toBe(0);
  });

  test("without FLR capability, Initiate FLR starts nothing", () => {
    const config = new ConfigSpace(endpointConfig({ vendor: 1, device: 1, class: 0x020000, flr: false }));
    const started: number[] = [];
    config.onWrite((_offset, _size, _before, _after, bits) => started.push(bits));
    config.write(config.findCapability(CAP_ID_EXP) + 8, 2, 0x8000);
    expect(started).toEqual([0]);
  });

  test("a listener that leaves hears no more, the others do", () => {
    const config = new ConfigSpace(endpoint);
    const first: number[] = [];
    const second: number[] = [];
    const leave = config.onWrite((offset) => first.push(offset));
    config.onWrite((offset) => second.push(offset));
    config.write(4, 2, 6);
    leave();
    config.write(4, 2, 0);
    expect([first, second]).toEqual([[4], [4, 4]]);
  });

  test("a port's bus numbers, windows and bridge control", () => {
    const config = new ConfigSpace(rootPortConfig({ secondary: 1, subordinate: 2 }));
    for (let offset = 0x18; offset < 0x40; offset += 4) {
      config.write(offset, 4, 0xffffffff);
    }
    expect(config.read32(0x18)).toBe(0x00ffffff);
    expect(config.read32(0x1c)).toBe(0x0000f0f0);
    expect(config.read32(0x20)).toBe(0xfff0fff0);
    expect(config.read16(0x3e)).toBe(0x005f);
    config.reset("conventional");
    expect(config.read32(0x18)).toBe(0);
  });
});

/** As firmware left them: 1 MB at 0xfe10_0000, 64-bit at 0x40_0000_0000, I/O at 0xe000, ROM at 0xfe00_0000. */
function withBars(): ConfigSpace {
  const bytes = endpoint.slice();
  const view = new DataView(bytes.buffer);
  view.setUint32(0x10, 0xfe100000, true);
  view.setUint32(0x14, 0x0000000c, true);
  view.setUint32(0x18, 0x00000040, true);
  view.setUint32(0x1c, 0x0000e001, true);
  view.setUint32(0x30, 0xfe000001, true);
  return new ConfigSpace(bytes);
}

describe("base addresses", () => {
  test("are cleared by a reset and can be restored", () => {
    const config = withBars();
    config.reset("flr");
    expect([0x10, 0x14, 0x18, 0x1c, 0x20, 0x30].map((at) => config.read32(at))).toEqual([0, 0xc, 0, 1, 0, 0]);
    for (const [at, value] of [
      [0x10, 0xfe100000],
      [0x14, 0x0000000c],
      [0x18, 0x00000040],
      [0x1c, 0x0000e001],
      [0x20, 0x12345670],
      [0x30, 0xfe000001],
    ] as const) {
      config.write(at, 4, value);
    }
    expect([0x10, 0x14, 0x18, 0x1c, 0x20, 0x30].map((at) => config.read32(at))).toEqual([
      0xfe100000, 0xc, 0x40, 0xe001, 0, 0xfe000001,
    ]);
  });
});

describe("reset", () => {
  test.each([
    ["conventional", maskOf(sticky)],
    ["flr", maskOf(keptByFlr)],
    ["fundamental", maskOf([])],
  ] as const)("%s brings back the state of power-on, but for what survives", (kind, survives) => {
    fc.assert(
      fc.property(fc.array(anyWrite, { maxLength: 40 }), (writes) => {
        const config = new ConfigSpace(endpoint);
        for (const { offset, size, value } of writes) {
          config.write(offset, size, value);
        }
        const before = config.toBytes();
        config.reset(kind);
        const after = config.toBytes();
        expect(changedOutside(survives, after)).toEqual([]);
        const cleared = survives.map((mask) => ~mask);
        expect(changedOutside(cleared, after, before)).toEqual([]);
      }),
    );
  });

  test("clears what enables a device to reach memory", () => {
    const config = new ConfigSpace(endpoint);
    const ats = config.findExtendedCapability(EXT_CAP_ID_ATS);
    const sriov = config.findExtendedCapability(EXT_CAP_ID_SRIOV);
    const msi = config.findCapability(CAP_ID_MSI);
    const pm = config.findCapability(CAP_ID_PM);
    config.write(0x04, 2, 0x0006);
    config.write(msi + 2, 2, 0x0001);
    config.write(ats + 6, 2, 0x8000);
    config.write(sriov + 8, 2, 0x0009);
    config.write(pm + 4, 2, 0x0003);
    config.reset("flr");
    expect(config.read16(0x04)).toBe(0);
    expect(config.read16(msi + 2)).toBe(0x0180);
    expect(config.read16(ats + 6)).toBe(0);
    expect(config.read16(sriov + 8)).toBe(0);
    expect(config.read16(pm + 4)).toBe(0x0008);
  });
});

/** A root port with the whole of AER and DPC, every sticky bit of both set. */
function withErrors(): ConfigSpace {
  const bytes = rootPortConfig({ secondary: 1, subordinate: 1 });
  const view = new DataView(bytes.buffer);
  view.setUint32(0x200, 0x2401_0001, true);
  view.setUint32(0x240, 0x0001_001d, true);
  view.setUint16(0x244, 0x00e0, true);
  const config = new ConfigSpace(bytes);
  const last = config.capabilities().entries.findLast((entry) => entry.extended);
  const link = last?.offset ?? 0x100;
  config.poke32(link, (config.read32(link) & 0x000f_ffff) | 0x2000_0000);
  for (const at of [0x204, 0x208, 0x210, 0x21c, 0x230, 0x234, 0x248, 0x24c]) {
    config.poke32(at, 0xffff_ffff);
  }
  return config;
}

describe("sticky bits", () => {
  test("of AER and DPC survive an FLR and a hot reset and are lost with the power", () => {
    const config = withErrors();
    expect(config.findExtendedCapability(0x1d)).toBe(0x240);
    const status = (): number[] =>
      [0x204, 0x208, 0x20c, 0x210, 0x21c, 0x230, 0x234, 0x248, 0x24c].map((at) => config.read32(at));
    const before = status();
    config.reset("flr");
    // RP Busy is not sticky.
    const kept = before.map((value, index) => (index === 7 ? (value & ~0x10) >>> 0 : value));
    expect(status()).toEqual(kept);
    config.reset("conventional");
    expect(status()).toEqual(kept);
    config.reset("fundamental");
    // Reserved bits and the interrupt message number are not the specification's to clear; masks and severities come back.
    expect(status()).toEqual([
      0x0000_0fcf, 0x0040_0fcf, 0x0046_2030, 0xffff_0e3e, 0, 0xffff_fe00, 0, 0x0000_c080, 0xfff8_f8f8,
    ]);
  });

  test("status is cleared by ones, logs by nobody", () => {
    const config = withErrors();
    config.write(0x204, 4, 0x0020_0000);
    config.write(0x21c, 4, 0);
    config.write(0x248, 4, 0x0000_0001);
    expect([config.read32(0x204), config.read32(0x21c), config.read32(0x248)]).toEqual([
      0xffdf_ffff, 0xffff_ffff, 0xffff_fffe,
    ]);
  });

  test("the root part is there in root ports only", () => {
    const bytes = endpointConfig({ vendor: 1, device: 1, class: 0x020000 });
    const view = new DataView(bytes.buffer);
    view.setUint32(0x100, 0x0001_0001, true);
    const config = new ConfigSpace(bytes);
    config.write(0x12c, 4, 7);
    expect(config.read32(0x12c)).toBe(0);
    const port = withErrors();
    port.write(0x22c, 4, 0xffff_ffff);
    expect(port.read32(0x22c)).toBe(7);
  });
});

describe("CXL device registers", () => {
  const dvsec = 0x100;
  const type2 = endpointConfig({ vendor: 1, device: 1, class: 0x120000, cxl: { cache: true, mem: true } });

  test("Cache_Enable can be written until CONFIG_LOCK", () => {
    const config = new ConfigSpace(type2);
    config.write(dvsec + 0xc, 2, 0x0005);
    expect(config.read16(dvsec + 0xc)).toBe(0x0007);
    config.write(dvsec + 0x14, 2, 0x0001);
    config.write(dvsec + 0xc, 2, 0x0000);
    expect(config.read16(dvsec + 0xc)).toBe(0x0007);
    // Once set, the lock is not software's to clear; Control2 is not frozen by it.
    config.write(dvsec + 0x14, 2, 0x0000);
    config.write(dvsec + 0x10, 2, 0x0001);
    expect(config.read16(dvsec + 0x14)).toBe(0x0001);
    expect(config.read16(dvsec + 0x10)).toBe(0x0001);
  });

  test("an FLR leaves CXL alone, a conventional reset clears it with the lock", () => {
    const config = new ConfigSpace(type2);
    config.write(dvsec + 0xc, 2, 0x0005);
    config.write(dvsec + 0x14, 2, 0x0001);
    config.reset("flr");
    expect(config.read16(dvsec + 0xc)).toBe(0x0007);
    expect(config.read16(dvsec + 0x14)).toBe(0x0001);
    config.reset("conventional");
    expect(config.read16(dvsec + 0xc)).toBe(0x0002);
    expect(config.read16(dvsec + 0x14)).toBe(0x0000);
  });

  test("a device without CXL.cache has no Cache_Enable", () => {
    const type3 = endpointConfig({ vendor: 1, device: 1, class: 0x050210, cxl: { cache: false, mem: true } });
    const config = new ConfigSpace(type3);
    config.write(dvsec + 0xc, 2, 0x0005);
    expect(config.read16(dvsec + 0xc)).toBe(0x0006);
  });

  test("the registers are plain read-only bytes under another vendor", () => {
    const config = new ConfigSpace(type2);
    config.poke16(dvsec + 4, 0x8086);
    config.write(dvsec + 0xc, 2, 0x0005);
    expect(config.read16(dvsec + 0xc)).toBe(0x0002);
    expect(config.findDvsec(0x1e98, 0)).toBe(0);
    expect(config.findDvsec(0x8086, 0)).toBe(dvsec);
  });
});

describe("poke", () => {
  test("that changes what a function has, changes what software can do", () => {
    const config = new ConfigSpace(endpoint);
    const acs = config.findExtendedCapability(EXT_CAP_ID_ACS);
    config.write(acs + 6, 2, 0xffff);
    expect(config.read16(acs + 6)).toBe(0x0015);
    config.poke16(acs + 4, 0x001d);
    config.write(acs + 6, 2, 0xffff);
    expect(config.read16(acs + 6)).toBe(0x001d);
  });

  test("of a list pointer, changes what is found", () => {
    const config = new ConfigSpace(endpoint);
    config.write(4, 2, 6);
    config.poke32(0x100, 0x0001000f);
    expect(config.findExtendedCapability(EXT_CAP_ID_ATS)).toBe(0x100);
    expect(config.findExtendedCapability(EXT_CAP_ID_ACS)).toBe(0);
  });

  test("is not told to listeners", () => {
    const config = new ConfigSpace(endpoint);
    config.onWrite(() => expect.unreachable());
    config.poke32(0x104, 0);
    expect(config.read32(0x104)).toBe(0);
  });
});
