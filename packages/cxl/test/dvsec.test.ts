import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { cxlDeviceDvsec, cxlDeviceType } from "@iommu-lab/cxl";
import { ConfigSpace, endpointConfig, parseLspciDump } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";

const type2 = endpointConfig({
  vendor: 0x1234,
  device: 1,
  class: 0x120000,
  ats: { queueDepth: 32 },
  cxl: { cache: true, mem: true, cacheEnabled: true, memEnabled: true },
});

describe("cxlDeviceDvsec", () => {
  test("decodes a Type 2 device", () => {
    const dvsec = cxlDeviceDvsec(new ConfigSpace(type2));
    expect(dvsec).toMatchObject({
      offset: 0x110,
      revision: 2,
      cacheCapable: true,
      ioCapable: true,
      memCapable: true,
      hdmCount: 1,
      cacheWritebackInvalidateCapable: true,
      resetCapable: true,
      resetTimeoutMs: 10,
      cacheEnable: true,
      ioEnable: true,
      memEnable: true,
      configLock: false,
    });
  });

  test("follows the bytes", () => {
    const config = new ConfigSpace(type2);
    config.write(0x110 + 0xc, 2, 0x0000);
    config.write(0x110 + 0x10, 2, 0x0001);
    expect(cxlDeviceDvsec(config)).toMatchObject({
      cacheEnable: false,
      ioEnable: true,
      memEnable: false,
      disableCaching: true,
    });
  });

  test("a function without the DVSEC has none", () => {
    const plain = endpointConfig({ vendor: 0x1234, device: 1, class: 0x020000 });
    expect(cxlDeviceDvsec(new ConfigSpace(plain))).toBeUndefined();
  });

  test.each([
    ["another vendor", 0x114, 0x8086],
    ["another id", 0x118, 0x0002],
  ])("%s with the same registers is not CXL", (_what, offset, value) => {
    const config = new ConfigSpace(type2);
    config.poke16(offset, value);
    expect(cxlDeviceDvsec(config)).toBeUndefined();
  });

  test.each([
    [true, false, 1],
    [true, true, 2],
    [false, true, 3],
    [false, false, undefined],
  ])("cache %s and memory %s is type %s", (cacheCapable, memCapable, type) => {
    expect(cxlDeviceType({ cacheCapable, memCapable })).toBe(type);
  });
});

const dump = path.join(
  process.env["IOMMU_LAB_DATA"] ?? path.resolve(import.meta.dirname, "../../..", "..", "shared", "data"),
  "config-space",
  "pciutils-cap-dvsec-cxl-cache-2020.txt",
);

describe.skipIf(!existsSync(dump))(`the dump of a device from before the CXL vendor id (${dump})`, () => {
  test("is not CXL until its DVSEC vendor reads 1e98", () => {
    const [fn] = parseLspciDump(readFileSync(dump, "utf8")).functions;
    const config = new ConfigSpace(fn?.bytes ?? new Uint8Array(1));
    expect(cxlDeviceDvsec(config)).toBeUndefined();
    config.poke16(0xe04, 0x1e98);
    expect(cxlDeviceDvsec(config)).toMatchObject({
      offset: 0xe00,
      cacheCapable: true,
      ioCapable: true,
      memCapable: true,
      memHwInit: true,
      hdmCount: 1,
      viralCapable: false,
      cacheEnable: true,
      ioEnable: true,
      memEnable: false,
    });
  });
});
