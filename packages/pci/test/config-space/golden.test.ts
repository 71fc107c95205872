import {
  ConfigSpace,
  EXT_CAP_ID_ACS,
  EXT_CAP_ID_ATS,
  EXT_CAP_ID_PASID,
  EXT_CAP_ID_PRI,
  endpointConfig,
  inspectFunction,
  rootPortConfig,
  switchPortConfig,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";

/** A PCI Express function whose only extended capability is `hex`, at 0x100. */
function withExtended(hex: string): Uint8Array {
  const bytes = new Uint8Array(4096);
  bytes.set(endpointConfig({ vendor: 0x1234, device: 1, class: 0x020000 }));
  bytes.set(fromHex(hex), 0x100);
  // The vectors that name a next capability: an empty one there ends the list.
  bytes[0x103] = 0;
  bytes[0x102] = (bytes[0x102] ?? 0) & 0x0f;
  return bytes;
}

function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(hex.split(" "), (digits) => Number.parseInt(digits, 16));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** `length` bytes from `offset`. */
function hexAt(config: ConfigSpace, offset: number, length: number): string {
  return toHex(config.toBytes().slice(offset, offset + length));
}

describe("golden bytes, decoded", () => {
  test.each([
    [
      "0f 00 01 00 10 00 00 80",
      "ats",
      { invalidateQueueDepth: 0x10, pageAlignedRequest: false, enable: true, smallestTranslationUnit: 0 },
    ],
    ["0f 00 01 11 30 00 00 80", "ats", { invalidateQueueDepth: 0x10, pageAlignedRequest: true, enable: true }],
    [
      "0f 00 01 00 20 00 04 00",
      "ats",
      { invalidateQueueDepth: 0, pageAlignedRequest: true, enable: false, smallestTranslationUnit: 4 },
    ],
    [
      "1b 00 01 12 06 14 01 00",
      "pasid",
      {
        maxPasidWidth: 20,
        execSupported: true,
        privSupported: true,
        enable: true,
        execEnable: false,
        privEnable: false,
      },
    ],
    [
      "13 00 01 14 01 00 00 80 20 00 00 00 20 00 00 00",
      "pri",
      { enable: true, status: ["PASID"], outstandingCapacity: 32, outstandingAllocation: 32 },
    ],
    [
      "13 00 01 14 00 00 00 81 20 00 00 00 00 00 00 00",
      "pri",
      { enable: false, status: ["Stopped", "PASID"], outstandingCapacity: 32, outstandingAllocation: 0 },
    ],
    [
      "0d 00 01 00 5f 00 1d 00",
      "acs",
      {
        capability: ["SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "DirectTrans"],
        control: ["SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"],
      },
    ],
    [
      "0d 00 01 00 7f 08 3d 00 ff 00 00 00",
      "acs",
      {
        capability: ["SrcValid", "TransBlk", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl", "DirectTrans"],
        control: ["SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd", "EgressCtrl"],
      },
    ],
    ["0e 00 01 00 00 01 00 00", "ari", { mfvc: false, acs: false, nextFunction: 1 }],
    [
      "23 00 01 00 98 1e c2 03 00 00 d7 00 07 00 00 00",
      "cxl",
      {
        cache: true,
        io: true,
        mem: true,
        hdmCount: 1,
        resetCapable: true,
        control: { cacheEnable: true, ioEnable: true, memEnable: true, viral: false },
      },
    ],
    ["23 00 01 00 98 1e c2 03 00 00 03 00 00 00 00 00", "cxl", { cache: true, io: true, mem: false, hdmCount: 0 }],
    ["23 00 01 00 98 1e c2 03 00 00 16 00 00 00 00 00", "cxl", { cache: false, io: true, mem: true, hdmCount: 1 }],
  ] as const)("%s", (hex, part, facts) => {
    expect(inspectFunction("0000:01:00.0", withExtended(hex))[part]).toMatchObject(facts);
  });

  test.each([
    ["0d 00 01 00 7f 08 3d 00 ff 00 00 00", { "capability.egressControlVectorSize": 8, egressControlVector: 0xff }],
    [
      "23 00 01 00 98 1e 80 02 03 00 00 00 01 00 00 00",
      { "header1.vendor": 0x1e98, "header1.length": 0x28, "header2.id": 3, "control.unmaskSbr": 1 },
    ],
    [
      "23 00 01 00 98 1e c0 01 08 00 00 00 00 01 00 00 00 00 00 00 00 03 01 00 00 00 00 00",
      { "header1.length": 0x1c, "header1.revision": 0, "header2.id": 8 },
    ],
    [
      "30 00 01 00 42 00 00 01 00 00 00 00",
      {
        "capability.selectiveStreams": 1,
        "capability.linkStream": 0,
        "capability.ideKm": 1,
        "capability.teeLimitedStream": 1,
        "capability.selectiveStreamsMinus1": 0,
      },
    ],
  ])("%s", (hex, facts) => {
    expect(inspectFunction("0000:01:00.0", withExtended(hex)).capabilities.at(-1)?.fields).toMatchObject(facts);
  });

  test.each([
    [0x10008000, { "deviceCapabilities.functionLevelReset": 1, "deviceCapabilities.teeIo": 0 }],
    [0x50008000, { "deviceCapabilities.functionLevelReset": 1, "deviceCapabilities.teeIo": 1 }],
  ])("Device Capabilities %i", (value, facts) => {
    const config = new ConfigSpace(endpointConfig({ vendor: 0x1234, device: 1, class: 0x020000 }));
    const exp = config.findCapability(0x10);
    config.poke32(exp + 4, value);
    const found = inspectFunction("0000:01:00.0", config.toBytes()).capabilities.find(({ name }) => name === "Express");
    expect(found?.fields).toMatchObject({ "deviceCapabilities.roleBasedErrorReporting": 1, ...facts });
  });
});

describe("golden bytes, built and then enabled by software", () => {
  const config = new ConfigSpace(
    endpointConfig({
      vendor: 0x1234,
      device: 1,
      class: 0x020000,
      ats: { queueDepth: 16 },
      pasid: { width: 20, exec: true, priv: true },
      pri: { capacity: 32 },
      acs: { capability: 0x5f },
    }),
  );

  test("ATS at 0x100, next 0x110", () => {
    config.write(0x106, 2, 0x8000);
    expect(config.findExtendedCapability(EXT_CAP_ID_ATS)).toBe(0x100);
    expect(hexAt(config, 0x100, 8)).toBe("0f 00 01 11 30 00 00 80");
  });

  test("PASID at 0x110, next 0x120", () => {
    config.write(0x116, 2, 0x0001);
    expect(config.findExtendedCapability(EXT_CAP_ID_PASID)).toBe(0x110);
    expect(hexAt(config, 0x110, 8)).toBe("1b 00 01 12 06 14 01 00");
  });

  test("PRI at 0x120: stopped, then enabled", () => {
    expect(config.findExtendedCapability(EXT_CAP_ID_PRI)).toBe(0x120);
    expect(hexAt(config, 0x124, 12)).toBe("00 00 00 81 20 00 00 00 00 00 00 00");
    config.write(0x12c, 4, 32);
    config.write(0x124, 2, 1);
    // Stopped is the function's to clear.
    config.poke16(0x126, 0x8000);
    expect(hexAt(config, 0x124, 12)).toBe("01 00 00 80 20 00 00 00 20 00 00 00");
  });

  test("ACS", () => {
    const acs = config.findExtendedCapability(EXT_CAP_ID_ACS);
    config.write(acs + 6, 2, 0x001d);
    expect(hexAt(config, acs, 8)).toBe("0d 00 01 00 5f 00 1d 00");
  });

  test("queue depth 32 is 0, STU 4 as firmware left it", () => {
    const bytes = endpointConfig({ vendor: 1, device: 1, class: 0x020000, ats: { queueDepth: 32, stu: 4 } });
    expect(toHex(bytes.slice(0x100, 0x108))).toBe("0f 00 01 00 20 00 04 00");
  });

  test("CXL Type 2 device", () => {
    const bytes = endpointConfig({
      vendor: 1,
      device: 1,
      class: 0x120000,
      cxl: { cache: true, mem: true, cacheEnabled: true, memEnabled: true },
    });
    expect(toHex(bytes.slice(0x104, 0x110))).toBe("98 1e c2 03 00 00 d7 00 07 00 00 00");
  });

  test("CXL port, SBR unmasked", () => {
    const bytes = rootPortConfig({ secondary: 1, subordinate: 1, cxl: { unmaskSbr: true } });
    expect(toHex(bytes.slice(0x104, 0x10a))).toBe("98 1e 80 02 03 00");
    expect(toHex(bytes.slice(0x10c, 0x110))).toBe("01 00 00 00");
  });
});

describe("builders refuse", () => {
  const nic = { vendor: 1, device: 1, class: 0x020000 };
  test.each([
    ["ats.queueDepth is 33, expected 1 to 32", { ...nic, ats: { queueDepth: 33 } }],
    ["ats.stu is 32, expected 0 to 31", { ...nic, ats: { queueDepth: 1, stu: 32 } }],
    ["pasid.width is 21, expected 0 to 20", { ...nic, pasid: { width: 21 } }],
    ["pri.capacity is 0, expected 1 to 4294967295", { ...nic, pri: { capacity: 0 } }],
    ["acs.control 0x2 enables what acs.capability 0x1 lacks", { ...nic, acs: { capability: 1, control: 2 } }],
    ["cxl.hdmCount is 3, expected 0 to 2", { ...nic, cxl: { cache: true, mem: true, hdmCount: 3 } }],
    ["vendor is 65535, expected 0 to 65534", { ...nic, vendor: 0xffff }],
    ["class is 16777216, expected 0 to 16777215", { ...nic, class: 0x1000000 }],
  ])("%s", (message, options) => {
    expect(() => endpointConfig(options)).toThrow(message);
  });

  test("a port whose buses are upside down", () => {
    expect(() => rootPortConfig({ secondary: 3, subordinate: 2 })).toThrow("subordinate is 2, expected 3 to 255");
  });
});

describe("ports", () => {
  test("a root port", () => {
    const port = rootPortConfig({
      secondary: 0x16,
      subordinate: 0x18,
      acs: { capability: 0x5f, control: 0x1d },
      multiFunction: true,
    });
    expect(inspectFunction("0000:00:01.0", port)).toMatchObject({
      class: "0604",
      headerType: 1,
      multiFunction: true,
      bridge: { primary: "00", secondary: "16", subordinate: "18" },
      pcie: { type: "Root Port", slot: true, flr: false, eetlpPrefix: true, maxEetlpPrefixes: 1, ariFwd: true },
      acs: { control: ["SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"] },
      warnings: [],
    });
  });

  test("both sides of a switch", () => {
    const upstream = switchPortConfig({ side: "upstream", primary: 1, secondary: 2, subordinate: 4 });
    const downstream = switchPortConfig({ side: "downstream", primary: 2, secondary: 3, subordinate: 3 });
    expect(inspectFunction("0000:01:00.0", upstream).pcie?.type).toBe("Upstream Port");
    expect(inspectFunction("0000:02:00.0", downstream).pcie?.type).toBe("Downstream Port");
    expect(inspectFunction("0000:02:00.0", downstream).bridge?.primary).toBe("02");
  });
});
