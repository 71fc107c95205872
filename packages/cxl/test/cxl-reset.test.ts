import { createPlatform, linux } from "@iommu-lab/core";
import {
  CXL_RESETS,
  type CxlCache,
  type CxlOptions,
  type CxlReset,
  cxl,
  cxlCache,
  cxlDevice,
  cxlDeviceDvsec,
  cxlDeviceType,
  cxlRegisterBlocks,
} from "@iommu-lab/cxl";
import {
  ConfigSpace,
  type CxlDeviceOptions,
  type CxlPortOptions,
  type Endpoint,
  FABRIC,
  TOPOLOGY,
  endpointConfig,
  pci,
  pciTopology,
  rootPortConfig,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";

const RID = 0x100;

/** A Type 2 device with a plain second function, below a CXL port. */
class Lab {
  readonly endpoint: Endpoint;
  readonly other: Endpoint;
  readonly cache: CxlCache;
  readonly reset: CxlReset;
  readonly buffer: number;
  readonly #platform;

  constructor(device: Partial<CxlDeviceOptions> = {}, port: CxlPortOptions = {}, options: CxlOptions = {}) {
    const config = endpointConfig(
      cxlDevice(2, { noSoftReset: false, advancedFeatures: true, cxl: { cache: true, mem: true, ...device } }),
    );
    const plain = endpointConfig({ vendor: 0x1e98, device: 9, class: 0x020000, ats: {} });
    const topology = pciTopology({
      rootPorts: [
        {
          bdf: "00:01.0",
          config: rootPortConfig({ secondary: 1, subordinate: 1, dpc: true, hotplug: true, cxl: port }),
          endpoint: { rid: RID, config },
          functions: [{ rid: RID + 1, config: plain }],
        },
      ],
    });
    this.#platform = createPlatform({ kernel: linux("7.2"), plugins: [pci(topology), cxl(options)] });
    this.#platform.boot();
    const { host, memory } = this.#platform;
    this.endpoint = host.get(FABRIC).endpoint(RID);
    this.other = host.get(FABRIC).endpoint(RID + 1);
    this.buffer = memory.allocate(4096, 4096, "test", "buffer") / 4096;
    const cache = cxlCache(host, RID);
    const reset = host.get(CXL_RESETS).get(RID);
    if (cache === undefined || reset === undefined) {
      throw new Error("no CXL device");
    }
    this.cache = cache;
    this.reset = reset;
  }

  get dvsec(): number {
    return this.endpoint.config.findDvsec(0x1e98, 0);
  }

  control2(value: number): void {
    this.endpoint.writeConfig(this.dvsec + 0x10, 2, value);
  }

  status2(): number {
    return this.endpoint.readConfig(this.dvsec + 0x12, 2) & 7;
  }

  pass(ms: number): void {
    this.#platform.run(
      (function* () {
        yield { kind: "sleep" as const, ns: ms * 1_000_000 };
      })(),
    );
  }

  port(offset: number, value: number): void {
    this.#platform.host.get(TOPOLOGY).functionAt(0x08)?.writeConfig(offset, 2, value);
  }

  portAt(id: number, extended: boolean): number {
    const config = this.#platform.host.get(TOPOLOGY).functionAt(0x08)?.config;
    return (extended ? config?.findExtendedCapability(id) : config?.findCapability(id)) ?? 0;
  }

  portDvsec(): number {
    return this.#platform.host.get(TOPOLOGY).functionAt(0x08)?.config.findDvsec(0x1e98, 3) ?? 0;
  }

  dpc(): void {
    this.port(this.portAt(0x1d, true) + 6, 1);
    this.#platform.host.get(TOPOLOGY).dpcs.get(0x08)?.report("fatal-message", RID);
    this.port(this.portAt(0x1d, true) + 8, 1);
  }
}

describe("CXL reset as software drives it", () => {
  test("disable caching, write back, reset, wait: Cache_Invalid, then Reset_Complete", () => {
    const lab = new Lab();
    expect(lab.cache.replay(lab.buffer, 0, 1).sent).toBe(true);
    lab.control2(1);
    lab.control2(3);
    expect(lab.status2()).toBe(0);
    lab.pass(1);
    expect(lab.status2()).toBe(1);
    lab.control2(5);
    // Configuration requests are answered, and nothing else goes on.
    expect([lab.status2(), lab.reset.resetting, lab.cache.enabled]).toEqual([0, true, false]);
    expect(lab.endpoint.atc.size).toBe(0);
    lab.pass(9);
    expect(lab.status2()).toBe(0);
    lab.pass(1);
    expect([lab.status2(), lab.reset.resetting]).toEqual([2, false]);
    expect(lab.cache.replay(lab.buffer, 0, 1)).toMatchObject({ sent: false, reason: "Cache_Enable is 0" });
  });

  test("a reset that fails says so, and the next one may work", () => {
    const lab = new Lab();
    lab.reset.fails = true;
    lab.control2(4);
    lab.pass(10);
    expect(lab.status2()).toBe(4);
    lab.control2(4);
    lab.pass(10);
    expect(lab.status2()).toBe(2);
  });

  test("one that takes longer than the advertised timeout", () => {
    const lab = new Lab({ resetTimeout: 1 }, {}, { resetNs: 200_000_000 });
    const timeout = cxlDeviceDvsec(lab.endpoint.config)?.resetTimeoutMs ?? 0;
    lab.control2(4);
    lab.pass(timeout);
    expect([timeout, lab.status2()]).toEqual([100, 0]);
  });

  test.each([
    ["no map: all functions take part", undefined, false],
    ["the map excepts function 1", [1], true],
  ])("%s", (_name, nonCxlFunctions, kept) => {
    const lab = new Lab(nonCxlFunctions === undefined ? {} : { nonCxlFunctions });
    lab.other.writeConfig(4, 2, 6);
    lab.control2(4);
    expect((lab.other.readConfig(4, 2) & 4) !== 0).toBe(kept);
    expect(lab.endpoint.readConfig(4, 2) & 4).toBe(0);
  });

  test("a device that is not capable of it does nothing", () => {
    const lab = new Lab({ reset: false });
    lab.control2(4);
    expect([lab.reset.resetting, lab.cache.enabled]).toEqual([false, true]);
  });
});

describe("what each reset leaves of CXL.cache and CXL.mem", () => {
  test.each<[string, (lab: Lab) => void, boolean]>([
    ["FLR", (lab) => lab.endpoint.writeConfig(lab.endpoint.config.findCapability(0x10) + 8, 2, 0x8000), true],
    ["AF FLR", (lab) => lab.endpoint.writeConfig(lab.endpoint.config.findCapability(0x13) + 4, 1, 1), true],
    [
      "PM D3hot to D0",
      (lab) => {
        const at = lab.endpoint.config.findCapability(0x01) + 4;
        lab.endpoint.writeConfig(at, 2, 3);
        lab.endpoint.writeConfig(at, 2, 0);
      },
      true,
    ],
    [
      "secondary bus reset that the port masks",
      (lab) => {
        lab.port(0x3e, 0x40);
        lab.port(0x3e, 0);
      },
      true,
    ],
    [
      "secondary bus reset that the port lets through",
      (lab) => {
        lab.port(lab.portDvsec() + 0xc, 1);
        lab.port(0x3e, 0x40);
        lab.port(0x3e, 0);
      },
      false,
    ],
    ["DPC", (lab) => lab.dpc(), false],
    ["CXL reset", (lab) => lab.control2(4), false],
  ])("%s", (_name, reset, kept) => {
    const lab = new Lab({}, {}, { lock: true });
    expect(cxlDeviceDvsec(lab.endpoint.config)).toMatchObject({ cacheEnable: true, memEnable: true, configLock: true });
    reset(lab);
    lab.pass(200);
    expect(cxlDeviceDvsec(lab.endpoint.config)).toMatchObject({ cacheEnable: kept, memEnable: kept, configLock: kept });
    expect(lab.cache.replay(lab.buffer, 0, 1).sent).toBe(kept);
  });
});

describe("CONFIG_LOCK", () => {
  test("firmware's lock keeps software from switching CXL.cache off; a reset lifts it", () => {
    const lab = new Lab({}, { unmaskSbr: true }, { lock: true });
    lab.endpoint.writeConfig(lab.dvsec + 0xc, 2, 0);
    expect(lab.cache.enabled).toBe(true);
    lab.port(0x3e, 0x40);
    lab.port(0x3e, 0);
    lab.pass(200);
    lab.endpoint.writeConfig(lab.dvsec + 0xc, 2, 7);
    expect(lab.cache.enabled).toBe(true);
    lab.endpoint.writeConfig(lab.dvsec + 0xc, 2, 0);
    expect(lab.cache.enabled).toBe(false);
  });
});

describe("devices by type", () => {
  test.each([
    [1, true, false, true, 0x120000],
    [2, true, true, true, 0x120000],
    [3, false, true, false, 0x050210],
  ] as const)("Type %i", (type, cache, mem, ats, classCode) => {
    const config = new ConfigSpace(endpointConfig(cxlDevice(type)));
    const dvsec = cxlDeviceDvsec(config);
    expect(dvsec).toMatchObject({ cacheCapable: cache, ioCapable: true, memCapable: mem });
    expect(dvsec === undefined ? 0 : cxlDeviceType(dvsec)).toBe(type);
    expect(config.findExtendedCapability(0x0f) !== 0).toBe(ats);
    expect(config.read32(8) >>> 8).toBe(classCode);
  });
});

test("Register Locator: the golden bytes name a component block and a device block in BAR 0", () => {
  const bytes = new Uint8Array(4096);
  bytes.set(endpointConfig({ vendor: 1, device: 2, class: 0x050210 }).slice(0, 0x100));
  const golden = "230001 00981e c001 0800 0000 0001 0000 0000 0000 0003 0100 0000 0000".replaceAll(" ", "");
  bytes.set(
    Uint8Array.from(golden.match(/../gu) ?? [], (pair) => Number.parseInt(pair, 16)),
    0x100,
  );
  expect(cxlRegisterBlocks(new ConfigSpace(bytes))).toEqual([
    { kind: "component", bar: 0, offset: 0n },
    { kind: "device", bar: 0, offset: 0x10000n },
  ]);
  expect(cxlRegisterBlocks(new ConfigSpace(endpointConfig({ vendor: 1, device: 2, class: 0x020000 })))).toEqual([]);
});
