import {
  type PciDev,
  type PciFacts,
  type PciProfile,
  dmaAliasQuirks,
  endpointConfig,
  pciForEachDmaAlias,
  pciPlatform,
  pciProfile,
  rootPortConfig,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Tree, bridgeBytes, conventionalBytes } from "./tree.ts";

function rids(dev: PciDev): readonly string[] {
  return pciForEachDmaAlias(dev).map(({ rid }) => rid.toString(16));
}

function on(profile: PciProfile, facts: PciFacts = {}): Tree {
  return new Tree({ platform: pciPlatform({ profile, facts }) });
}

const v72 = pciProfile("7.2");

describe("requester IDs by quirk", () => {
  const at = (rid: number, vendor: number, device: number, subsystem?: { vendor: number; device: number }) => {
    const bytes = endpointConfig({
      vendor,
      device,
      class: 0x010000,
      ...(subsystem === undefined ? {} : { subsystem }),
    });
    return on(v72).make(rid, bytes);
  };

  test.each([
    ["Marvell 9230 at function 0 uses function 1", 0x300, 0x1b4b, 0x9230, ["300", "301"]],
    ["and at function 1 its own only", 0x301, 0x1b4b, 0x9230, ["301"]],
    ["Ricoh e832 at function 3 uses function 0", 0x303, 0x1180, 0xe832, ["303", "300"]],
    ["JMicron 2392", 0x308, 0x197b, 0x2392, ["308", "309"]],
    ["MIC x200", 0x300, 0x8086, 0x2264, ["300", "380", "388", "393"]],
    ["an ordinary function", 0x300, 0x8086, 0x1592, ["300"]],
  ])("%s", (_what, rid, vendor, device, expected) => {
    expect(rids(at(rid, vendor, device))).toEqual(expected);
  });

  test("Adaptec 3405 is known by its subsystem", () => {
    expect(rids(at(0x370, 0x9005, 0x0285, { vendor: 0x9005, device: 0x02bb }))).toEqual(["370", "308"]);
    expect(rids(at(0x370, 0x9005, 0x0285, { vendor: 0x9005, device: 0x02bd }))).toEqual(["370"]);
  });

  test("a VCA uses five functions of all 32 slots, a PLX bridge every devfn", () => {
    expect(rids(at(0x300, 0x8086, 0x2956))).toHaveLength(161);
    expect(rids(at(0x300, 0x8086, 0x2957))).toHaveLength(1);
    expect(rids(at(0x300, 0x10b5, 0x87b0))).toHaveLength(257);
  });

  test("every rule names its source, and its ranges are in order", () => {
    for (const { source, matches } of dmaAliasQuirks) {
      expect(source).toMatch(/^quirk_\w+\(\)/);
      for (const range of matches.flatMap(({ devices }) => devices ?? [])) {
        expect(typeof range === "number" || range[0] <= range[1]).toBe(true);
      }
    }
  });
});

describe("bridges on the way", () => {
  const port = (): Uint8Array => rootPortConfig({ secondary: 1, subordinate: 9 });

  test("a conventional bridge below a root port that is in truth PCIe-to-PCI lends (secondary bus, 0.0)", () => {
    const tree = on(v72);
    const root = tree.make(0x08, port());
    const hidden = tree.make(0x100, bridgeBytes(2, "conventional", { vendor: 0x1b21, device: 0x1080 }), root);
    expect(rids(tree.make(0x208, conventionalBytes(), hidden))).toEqual(["208", "200"]);
  });

  test("the same bridge on a root bus, or behind a PCIe-to-PCI bridge, is what it seems", () => {
    const tree = on(v72);
    const onRoot = tree.make(0x100, bridgeBytes(2, "conventional", { vendor: 0x1b21, device: 0x1080 }));
    expect(rids(tree.make(0x208, conventionalBytes(), onRoot))).toEqual(["208", "100"]);
    const toPci = tree.make(0x100, bridgeBytes(2, 7), tree.make(0x08, port()));
    const behind = tree.make(0x208, bridgeBytes(3, "conventional", { vendor: 0x1b21, device: 0x1080 }), toPci);
    expect(rids(tree.make(0x308, conventionalBytes(), behind))).toEqual(["308", "208", "200"]);
  });

  test("AST1150 leaves requester IDs alone, in kernels that know", () => {
    for (const [version, expected] of [
      ["6.12", ["208", "200"]],
      ["7.2", ["208"]],
    ] as const) {
      const tree = on(pciProfile(version));
      const toPci = tree.make(0x100, bridgeBytes(2, 7, { vendor: 0x1a03, device: 0x1150 }), tree.make(0x08, port()));
      expect(rids(tree.make(0x208, conventionalBytes(), toPci))).toEqual(expected);
    }
  });

  test("nothing above a Vulcan bridge counts", () => {
    const tree = on(v72);
    const odd = tree.make(0x08, bridgeBytes(1, "conventional"));
    const vulcan = tree.make(0x100, bridgeBytes(2, 4, { vendor: 0x14e4, device: 0x9000 }), odd);
    const toPci = tree.make(0x200, bridgeBytes(3, 7), vulcan);
    expect(rids(tree.make(0x308, conventionalBytes(), toPci))).toEqual(["308", "300"]);
  });
});
