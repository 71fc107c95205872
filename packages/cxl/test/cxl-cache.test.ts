import { type Platform, Recorder, createPlatform, linux } from "@iommu-lab/core";
import { CXL_CACHES, CxlCache, type CxlFirmwareOptions, cxl, cxlCache } from "@iommu-lab/cxl";
import {
  AT_MASK,
  AT_TRANSLATION_REQUEST,
  type Endpoint,
  FABRIC,
  type IommuHardware,
  NO_PASID,
  REQUEST_NO_WRITE,
  REQUEST_SOURCE_CXL,
  TranslateResult,
  endpointConfig,
  pci,
  pciTopology,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";

const RID = 0x100;
const PAGE = 0x55;

/** Translates one page and writes down the flags of every request. */
class OnePage implements IommuHardware {
  readonly name = "fake0";
  readonly seen: number[] = [];
  host = 0;
  read = true;
  write = true;
  cxlIo = false;
  untranslatedOnly = false;
  refuse = false;
  readonly #result = new TranslateResult();

  translate(_rid: number, pasid: number, page: number, _offset: number, flags: number): TranslateResult {
    this.seen.push(flags);
    if (this.refuse || (flags & AT_MASK) !== AT_TRANSLATION_REQUEST) {
      return this.#result.refuse("UR", "refused", true);
    }
    const isKnown = page === PAGE && (pasid === NO_PASID || pasid === 3);
    this.#result.pass(isKnown ? this.host : 0, isKnown && this.read, isKnown && this.write);
    this.#result.cxlIo = this.cxlIo;
    this.#result.untranslatedOnly = this.untranslatedOnly;
    return this.#result;
  }

  pageRequest(): void {
    throw new Error("no page request is expected");
  }

  invalidateCompletion(): void {
    this.seen.push(-1);
  }
}

class Lab {
  readonly iommu = new OnePage();
  readonly platform: Platform;
  readonly endpoint: Endpoint;
  readonly cache: CxlCache;
  readonly buffer: number;

  constructor(
    device: Partial<Parameters<typeof endpointConfig>[0]> = {},
    firmware: CxlFirmwareOptions = {},
    ats: boolean = true,
  ) {
    const config = endpointConfig({
      vendor: 0x1e98,
      device: 1,
      class: 0x120000,
      ats: { queueDepth: 32 },
      pasid: { width: 8 },
      cxl: { cache: true, mem: true },
      ...device,
    });
    const topology = pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { rid: RID, config } }] });
    this.platform = createPlatform({ kernel: linux("7.2"), plugins: [pci(topology), cxl(firmware)] });
    const { host, memory } = this.platform;
    host.get(FABRIC).attachIommu(this.iommu, () => true);
    this.endpoint = host.get(FABRIC).endpoint(RID);
    const cache = cxlCache(host, RID);
    if (cache === undefined) {
      throw new Error("no CXL.cache agent");
    }
    this.cache = cache;
    this.buffer = memory.allocate(4096, 4096, "test", "buffer") / 4096;
    this.iommu.host = this.buffer;
    this.platform.boot();
    this.setAts(ats);
  }

  setAts(enabled: boolean): void {
    const at = this.endpoint.config.findExtendedCapability(0x0f);
    this.endpoint.writeConfig(at + 6, 2, enabled ? 0x8000 : 0);
  }

  word(offset: number): number {
    return this.platform.memory.load32(this.buffer * 4096 + offset);
  }

  control(): number {
    return this.endpoint.config.read16(this.endpoint.config.findDvsec(0x1e98, 0) + 0xc);
  }
}

describe("an honest agent", () => {
  test("asks once with Source-CXL, then reaches memory past the IOMMU", () => {
    const lab = new Lab();
    expect(lab.cache.write(PAGE, 8, 0xcafe)).toMatchObject({ sent: true, status: "success" });
    expect(lab.word(8)).toBe(0xcafe);
    expect(lab.cache.read(PAGE, 8).value).toBe(0xcafe);
    expect(lab.iommu.seen).toEqual([AT_TRANSLATION_REQUEST | REQUEST_SOURCE_CXL]);
  });

  test("a read asks with No Write", () => {
    const lab = new Lab();
    lab.cache.read(PAGE, 0);
    expect(lab.iommu.seen).toEqual([AT_TRANSLATION_REQUEST | REQUEST_SOURCE_CXL | REQUEST_NO_WRITE]);
  });

  test("sends nothing without ATS Enable, also when the ATC still holds the page", () => {
    const lab = new Lab();
    lab.cache.write(PAGE, 0, 1);
    lab.setAts(false);
    expect(lab.endpoint.atc.size).toBe(1);
    expect(lab.cache.write(PAGE, 0, 2)).toMatchObject({ sent: false, reason: "ATS Enable is 0" });
    expect(lab.word(0)).toBe(1);
  });

  test("sends nothing without a translation, or without its permission", () => {
    const lab = new Lab();
    expect(lab.cache.read(PAGE + 1, 0)).toMatchObject({ sent: false, reason: "no translation" });
    lab.iommu.write = false;
    expect(lab.cache.write(PAGE, 0, 1)).toMatchObject({ sent: false, reason: "the translation lacks the permission" });
    expect(lab.cache.read(PAGE, 0).sent).toBe(true);
    expect(lab.word(0)).toBe(0);
  });

  test("sends nothing after the translation was refused", () => {
    const lab = new Lab();
    lab.iommu.refuse = true;
    expect(lab.cache.read(PAGE, 0)).toMatchObject({ sent: false, reason: "no translation" });
    expect(lab.cache.read(PAGE, 0)).toMatchObject({ sent: false, reason: "ATS stopped by a UR" });
  });

  test("leaves pages marked CXL.io alone", () => {
    const lab = new Lab();
    lab.iommu.cxlIo = true;
    expect(lab.cache.write(PAGE, 0, 1)).toMatchObject({
      sent: false,
      reason: "the page must be accessed through CXL.io",
    });
    expect(lab.word(0)).toBe(0);
  });

  test("leaves pages for Untranslated access alone, unless it ignores that", () => {
    const lab = new Lab();
    lab.iommu.untranslatedOnly = true;
    expect(lab.cache.write(PAGE, 0, 1).sent).toBe(false);
    lab.endpoint.obeys.untranslatedOnly = false;
    expect(lab.cache.write(PAGE, 0, 1).sent).toBe(true);
  });

  test("stops at Disable_Caching", () => {
    const lab = new Lab();
    lab.endpoint.writeConfig(lab.endpoint.config.findDvsec(0x1e98, 0) + 0x10, 2, 1);
    expect(lab.cache.read(PAGE, 0)).toMatchObject({ sent: false, reason: "Disable_Caching is 1" });
  });

  test("forgets what it was told to forget", () => {
    const lab = new Lab();
    lab.cache.write(PAGE, 0, 1);
    lab.iommu.read = false;
    lab.iommu.write = false;
    const fabric = lab.platform.host.get(FABRIC);
    fabric.sendInvalidate(lab.iommu, RID, 0, NO_PASID, PAGE, 12, false, 0);
    lab.platform.scheduler.settle();
    expect(lab.cache.write(PAGE, 0, 2).sent).toBe(false);
    expect(lab.word(0)).toBe(1);
  });

  test("a PASID has its own translation and needs PASID Enable", () => {
    const lab = new Lab();
    expect(lab.cache.write(PAGE, 0, 1, 3)).toMatchObject({ sent: false, reason: "PASID Enable is 0" });
    lab.endpoint.writeConfig(lab.endpoint.config.findExtendedCapability(0x1b) + 6, 2, 1);
    expect(lab.cache.write(PAGE, 0, 1, 3).sent).toBe(true);
    expect(lab.endpoint.atc.entries()).toMatchObject([{ pasid: 3 }]);
  });
});

describe("a hostile agent", () => {
  test("replays a host page with ATS off and the translation withdrawn; no IOMMU sees it", () => {
    const lab = new Lab();
    lab.cache.write(PAGE, 0, 1);
    lab.setAts(false);
    lab.endpoint.atc.clear();
    lab.iommu.seen.length = 0;
    expect(lab.cache.replay(lab.buffer, 4, 0xbad)).toMatchObject({ sent: true, status: "success" });
    expect(lab.word(4)).toBe(0xbad);
    expect(lab.iommu.seen).toEqual([]);
  });

  test("stops at Cache_Enable alone, and where nothing is", () => {
    const lab = new Lab({}, { enableCache: false });
    expect(lab.cache.enabled).toBe(false);
    expect(lab.cache.replay(lab.buffer, 4, 0xbad)).toMatchObject({ sent: false, reason: "Cache_Enable is 0" });
    expect(lab.word(4)).toBe(0);
    expect(new Lab().cache.replay(1, 0, 1).status).toBe("master-abort");
  });

  test("an FLR leaves its Cache_Enable", () => {
    const lab = new Lab();
    lab.endpoint.reset("flr");
    expect(lab.cache.replay(lab.buffer, 4, 0xbad).sent).toBe(true);
    lab.endpoint.reset("conventional");
    expect(lab.cache.replay(lab.buffer, 4, 0xbad).sent).toBe(false);
  });

  test("an unplugged device is silent", () => {
    const lab = new Lab();
    lab.endpoint.unplug();
    expect(lab.cache.replay(lab.buffer, 4, 0xbad)).toMatchObject({ sent: false, reason: "unplugged" });
  });
});

describe("trace", () => {
  test("every access, sent or not, is one event", () => {
    const lab = new Lab();
    const recorder = new Recorder(lab.platform.trace);
    const { event } = lab.cache.write(PAGE, 0, 1);
    lab.cache.read(PAGE + 1, 0);
    const events = recorder.events.filter(({ type }) => type === "cxl:cache");
    expect(events).toMatchObject([
      { id: event, device: "0000:01:00.0", page: lab.buffer, write: true, result: "success" },
      { page: PAGE + 1, write: false, result: "not-sent" },
    ]);
    expect(lab.platform.memory.writerOf(lab.buffer * 4096)).toBe(event);
  });
});

describe("firmware", () => {
  test.each<[string, { cache: boolean; mem: boolean }, CxlFirmwareOptions, number]>([
    ["Type 2", { cache: true, mem: true }, {}, 7],
    ["Type 1", { cache: true, mem: false }, {}, 3],
    ["Type 3", { cache: false, mem: true }, {}, 6],
    ["Type 2, caching left off", { cache: true, mem: true }, { enableCache: false }, 6],
    ["Type 2, memory left off", { cache: true, mem: true }, { enableMem: false }, 3],
  ])("enables what the device can: %s", (_name, device, options, control) => {
    expect(new Lab({ cxl: device }, options).control()).toBe(control);
  });

  test("leaves what is there already", () => {
    const lab = new Lab({ cxl: { cache: true, mem: true, cacheEnabled: true } }, { enableCache: false });
    expect(lab.control() & 1).toBe(1);
  });
});

describe("which functions have an agent", () => {
  test("those with the DVSEC, where cxl() is there", () => {
    const config = endpointConfig({ vendor: 1, device: 2, class: 0x020000 });
    const topology = pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { rid: RID, config } }] });
    const kernel = linux("7.2");
    const without = createPlatform({ kernel, plugins: [pci(topology)] });
    expect(cxlCache(without.host, RID)).toBeUndefined();
    const platform = createPlatform({ kernel, plugins: [pci(topology), cxl()] });
    expect(platform.host.get(CXL_CACHES).size).toBe(0);
    const { memory, trace } = platform;
    expect(() => new CxlCache(platform.host.get(FABRIC).endpoint(RID), memory, trace)).toThrow(/no CXL device DVSEC/);
    expect(new Lab().platform.host.get(CXL_CACHES).size).toBe(1);
  });
});
