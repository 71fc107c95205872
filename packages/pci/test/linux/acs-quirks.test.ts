import {
  ACS_CR,
  ACS_DT,
  ACS_ISOLATION,
  ACS_RR,
  ACS_TB,
  type AcsRule,
  ConfigSpace,
  type EndpointOptions,
  type PciDev,
  type PciFacts,
  acsFlagNames,
  endpointConfig,
  pciAcsVerdict,
  pciEnableAcs,
  pciPlatform,
  rootPortConfig,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Tree } from "./tree.ts";

interface Ids {
  readonly vendor: number;
  readonly device: number;
}

function treeWith(facts: PciFacts = {}, parameter = ""): Tree {
  return new Tree({ platform: pciPlatform({ facts, parameter }) });
}

function endpoint(ids: Ids, options: Partial<EndpointOptions> = {}, facts: PciFacts = {}): PciDev {
  const config = { class: 0x020000, multiFunction: true, ...ids, ...options };
  return treeWith(facts).make(0x10, endpointConfig(config));
}

function rootPort(ids: Ids, acs?: { readonly capability: number; readonly control?: number }): PciDev {
  const config = rootPortConfig({ secondary: 1, subordinate: 1, ...ids, ...(acs === undefined ? {} : { acs }) });
  return treeWith().make(0xe0, config);
}

function verdict(dev: PciDev, flags: number = ACS_ISOLATION): readonly [AcsRule, readonly string[]] {
  const { rule, missing } = pciAcsVerdict(dev, flags);
  return [rule, acsFlagNames(missing)];
}

describe("quirks that tell which functions are isolated", () => {
  test("a listed multifunction endpoint is, another one is not", () => {
    expect(verdict(endpoint({ vendor: 0x8086, device: 0x10f7 }))).toEqual(["quirk", []]);
    expect(verdict(endpoint({ vendor: 0x8086, device: 0x10fc }), 0x5f)).toEqual(["quirk", []]);
    expect(verdict(endpoint({ vendor: 0x8086, device: 0x10fd }))).toEqual([
      "no-capability",
      ["SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"],
    ]);
  });

  test("an Intel endpoint integrated into the root complex is, unless Translation Blocking is asked for", () => {
    const dev = endpoint({ vendor: 0x8086, device: 0x1 }, { pcieType: 9 });
    expect(verdict(dev)).toEqual(["quirk", []]);
    expect(verdict(dev, ACS_TB)).toEqual(["quirk", ["TransBlk"]]);
  });

  test("the endpoint list comes before the rule for integrated ones", () => {
    expect(verdict(endpoint({ vendor: 0x8086, device: 0x1521 }, { pcieType: 9 }), ACS_TB | ACS_DT)).toEqual([
      "quirk",
      [],
    ]);
  });

  test("AMD's south bridge counts only with an IVRS, on a root bus, in a multifunction slot", () => {
    const ids = { vendor: 0x1022, device: 0x780f };
    expect(verdict(endpoint(ids, {}, { ivrs: true }))).toEqual(["quirk", []]);
    expect(verdict(endpoint(ids, {}, { ivrs: false }))[0]).toBe("no-capability");
    expect(verdict(endpoint(ids, { multiFunction: false }, { ivrs: true }))[0]).toBe("single-function");
    const tree = treeWith({ ivrs: true });
    const above = tree.make(0x8, rootPortConfig({ secondary: 1, subordinate: 1 }));
    const below = tree.make(0x100, endpointConfig({ class: 0, multiFunction: true, ...ids }), above);
    expect(verdict(below)[0]).toBe("no-capability");
  });

  test("a Cavium function is judged as a root port first, as an endpoint then", () => {
    expect(verdict(rootPort({ vendor: 0x177d, device: 0xa026 }), ACS_TB)).toEqual(["quirk", ["TransBlk"]]);
    expect(verdict(endpoint({ vendor: 0x177d, device: 0xa026 }), ACS_TB)).toEqual(["quirk", []]);
  });

  test("Zhaoxin ports and Wangxun functions that are not listed are not isolated, whatever they have", () => {
    const all = { capability: 0x1f, control: 0x1f };
    expect(verdict(rootPort({ vendor: 0x1d17, device: 0x0720 }, all))[1]).toHaveLength(4);
    expect(verdict(rootPort({ vendor: 0x1d17, device: 0x0721 }))).toEqual(["quirk", []]);
    expect(verdict(endpoint({ vendor: 0x8088, device: 0x9999 }, { multiFunction: false }))[1]).toHaveLength(4);
    expect(verdict(endpoint({ vendor: 0x8088, device: 0x010f }))).toEqual(["quirk", []]);
  });

  test.each([
    [0x1d1c, "quirk"],
    [0x1d1d, "no-capability"],
    [0x7a39, "no-capability"],
  ])("steps in a range count: Intel %s", (device, rule) => {
    expect(verdict(rootPort({ vendor: 0x8086, device }))[0]).toBe(rule);
  });

  test("the rules can be left out, and a function can be assumed to isolate", () => {
    const quirkless = new Tree({ platform: pciPlatform({ acsQuirks: false }) });
    const bytes = endpointConfig({ vendor: 0x8086, device: 1, class: 0, multiFunction: true, pcieType: 9 });
    expect(verdict(quirkless.make(0x10, bytes))[0]).toBe("no-capability");
    const assumed = new Tree({ platform: pciPlatform({ assumedAcs: new Map([["0000:00:02.0", "off"]]) }) });
    expect(verdict(assumed.make(0x10, bytes))).toEqual(["assumed", acsFlagNames(ACS_ISOLATION)]);
  });
});

describe("Intel PCH root ports", () => {
  const ids = { vendor: 0x8086, device: 0x9d14 };

  /** A port whose registers are 32 bits wide: capability at +4, control at +8. */
  function widePort(parameter = ""): PciDev {
    const bytes = rootPortConfig({ secondary: 1, subordinate: 1, ...ids, acs: { capability: 0x0f } });
    return treeWith({}, parameter).make(0xe0, bytes);
  }

  function words(dev: PciDev): readonly number[] {
    const { config } = dev;
    const at = config.findExtendedCapability(0x0d);
    return [config.read16(at + 6), config.read32(at + 8)];
  }

  test("with 32-bit registers, the control at +8 counts, and what the capability lacks is waived", () => {
    const dev = widePort();
    expect(verdict(dev)).toEqual(["quirk", ["SrcValid", "ReqRedir", "CmpltRedir"]]);
    dev.config.poke32(dev.acsCap + 8, 0x0d);
    expect(verdict(dev)).toEqual(["quirk", []]);
  });

  test("their control at +8 is what the kernel enables, and not the register at +6", () => {
    const dev = widePort();
    treeWith().machine.run(pciEnableAcs(dev));
    expect(words(dev)).toEqual([0, 0x0d]);
    expect(verdict(dev)).toEqual(["quirk", []]);
    const withoutRedirect = widePort("disable_acs_redir=00:1c.0");
    treeWith().machine.run(pciEnableAcs(withoutRedirect));
    expect(words(withoutRedirect)).toEqual([0, 0x01]);
  });

  test("without a capability, the platform decides whether they isolate", () => {
    const port = { vendor: 0x8086, device: 0x8c10 };
    for (const [off, missing] of [
      [true, 0],
      [false, 4],
    ] as const) {
      const tree = treeWith({ pchPeerDecodeOff: off });
      const dev = tree.make(0xe0, rootPortConfig({ secondary: 1, subordinate: 1, ...port }));
      expect(verdict(dev)[1]).toHaveLength(4);
      tree.machine.run(pciEnableAcs(dev));
      expect(verdict(dev)[1]).toHaveLength(missing);
    }
  });

  test("when no fact is given, RCBA Enable of the LPC bridge is", () => {
    for (const [rcba, missing] of [
      [0xfed1c001, 0],
      [0xfed1c000, 4],
    ] as const) {
      const plain = treeWith();
      const lpc = plain.make(0xf8, endpointConfig({ vendor: 0x8086, device: 0x8c44, class: 0x060100 }));
      lpc.config.poke32(0xf0, rcba);
      const tree = new Tree({ platform: pciPlatform({ neighbour: (_dev, rid) => (rid === 0xf8 ? lpc : undefined) }) });
      const bytes = rootPortConfig({ secondary: 1, subordinate: 1, vendor: 0x8086, device: 0x8c10 });
      const dev = tree.make(0xe0, bytes);
      tree.machine.run(pciEnableAcs(dev));
      expect(verdict(dev)[1]).toHaveLength(missing);
    }
  });
});

test("the names of the bits are lspci's", () => {
  expect(acsFlagNames(ACS_RR | ACS_CR | ACS_DT)).toEqual(["ReqRedir", "CmpltRedir", "DirectTrans"]);
  expect(new ConfigSpace(rootPortConfig({ secondary: 1, subordinate: 1 })).findExtendedCapability(0x0d)).toBe(0);
});
