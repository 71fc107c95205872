import { endpointConfig, pciForEachDmaAlias, pciTopology, rootPortConfig } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { Machine, nic } from "../support.ts";
import { Tree, bridgeBytes, conventionalBytes } from "./tree.ts";

const multi = { ...nic, multiFunction: true };
const isolating = { capability: 0x1f };

/** The groups that the IOMMU core made, as sets of addresses. */
function groups(machine: Machine): string[][] {
  return machine.platform.iommu.groups.map((group) => group.members.map(({ device }) => device.name.slice(5)));
}

function grouped(topology: Parameters<typeof pciTopology>[0]): string[][] {
  const machine = new Machine(pciTopology(topology), { driver: true });
  machine.platform.boot();
  return groups(machine);
}

describe("groups by topology", () => {
  test("an endpoint below an isolating root port is alone", () => {
    expect(grouped({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: nic } }] })).toEqual([
      ["00:01.0"],
      ["01:00.0"],
    ]);
  });

  test("a root port without ACS takes everything below into its group", () => {
    expect(
      grouped({ rootPorts: [{ bdf: "00:01.0", acs: "none", endpoint: { bdf: "01:00.0", config: nic } }] }),
    ).toEqual([["00:01.0", "01:00.0"]]);
  });

  test("functions of one slot without ACS are one group, with ACS each its own", () => {
    const slot = (acs: object) => ({
      rootPorts: [
        {
          bdf: "00:01.0",
          endpoint: { bdf: "01:00.0", config: { ...multi, ...acs } },
          functions: [{ bdf: "01:00.1", config: { ...multi, ...acs } }],
        },
      ],
    });
    expect(grouped(slot({}))).toEqual([["00:01.0"], ["01:00.0", "01:00.1"]]);
    expect(grouped(slot({ acs: isolating }))).toEqual([["00:01.0"], ["01:00.0"], ["01:00.1"]]);
  });

  test("a switch whose downstream ports lack ACS is one group with all below", () => {
    const behind = (acs: "none" | typeof isolating) => ({
      rootPorts: [
        {
          bdf: "00:01.0",
          switch: {
            bdf: "01:00.0",
            downstream: [
              { bdf: "02:00.0", acs, endpoint: { bdf: "03:00.0", config: nic } },
              { bdf: "02:01.0", acs, endpoint: { bdf: "04:00.0", config: nic } },
            ],
          },
        },
      ],
    });
    expect(grouped(behind(isolating))).toEqual([
      ["00:01.0"],
      ["01:00.0"],
      ["02:00.0"],
      ["02:01.0"],
      ["03:00.0"],
      ["04:00.0"],
    ]);
    expect(grouped(behind("none"))).toEqual([["00:01.0"], ["01:00.0"], ["02:00.0", "03:00.0"], ["02:01.0", "04:00.0"]]);
  });

  test("root ports that are functions of one slot without ACS share one group with all below them", () => {
    const port = (fn: number) => ({
      bdf: `00:01.${fn}`,
      config: rootPortConfig({ secondary: fn + 1, subordinate: fn + 1, multiFunction: true }),
      endpoint: { bdf: `0${fn + 1}:00.0`, config: nic },
    });
    expect(grouped({ rootPorts: [port(0), port(1)] })).toEqual([["00:01.0", "00:01.1", "01:00.0", "02:00.0"]]);
  });

  test("a VF gets a group of its own", () => {
    expect(
      grouped({
        rootPorts: [
          {
            bdf: "00:01.0",
            endpoint: { bdf: "01:00.0", config: { ...nic, sriov: { totalVfs: 1, vfDevice: 1 } } },
            functions: [{ bdf: "01:01.0", config: nic, virtualFunctionOf: "01:00.0" }],
          },
        ],
      }),
    ).toEqual([["00:01.0"], ["01:00.0"], ["01:01.0"]]);
  });
});

const port = (): Uint8Array => rootPortConfig({ secondary: 1, subordinate: 9, acs: { capability: 0x1f } });

describe("DMA aliases", () => {
  test("ports are transparent", () => {
    const tree = new Tree();
    const root = tree.add(0x08, port());
    const dev = tree.add(0x100, endpointConfig(nic), root);
    expect(pciForEachDmaAlias(dev).map(({ rid }) => rid)).toEqual([0x100]);
  });

  test("a PCIe-to-PCI bridge lends (secondary bus, 0.0); functions behind it are one group with the bridge", () => {
    const tree = new Tree();
    const root = tree.add(0x08, port());
    const toPci = tree.add(0x100, bridgeBytes(2, 7), root);
    const one = tree.add(0x208, conventionalBytes(), toPci);
    const two = tree.add(0x210, conventionalBytes(), toPci);
    expect(pciForEachDmaAlias(one).map(({ rid }) => rid)).toEqual([0x208, 0x200]);
    expect(one.sharesAlias(two)).toBe(true);
    expect(one.sharesAlias(root)).toBe(false);
    expect(tree.groups()).toEqual([["00:01.0"], ["01:00.0", "02:01.0", "02:02.0"]]);
  });

  test("PCI-to-PCIe and conventional bridges lend their own ID", () => {
    const tree = new Tree();
    const toPcie = tree.add(0x108, bridgeBytes(3, 8));
    const plain = tree.add(0x110, bridgeBytes(4, "conventional"));
    expect(pciForEachDmaAlias(tree.add(0x300, endpointConfig(nic), toPcie)).map(({ rid }) => rid)).toEqual([
      0x300, 0x108,
    ]);
    expect(pciForEachDmaAlias(tree.add(0x400, conventionalBytes(), plain)).map(({ rid }) => rid)).toEqual([
      0x400, 0x110,
    ]);
  });

  test("an alias by quirk puts two slots of a bus into one group, whichever comes first", () => {
    for (const order of [
      [0x100, 0x108],
      [0x108, 0x100],
    ]) {
      const tree = new Tree();
      const root = tree.add(0x08, port());
      for (const rid of order) {
        tree.add(rid, endpointConfig(nic), root, rid === 0x108 ? [0x00] : []);
      }
      expect(tree.groups().map((group) => group.length)).toEqual([1, 2]);
    }
  });

  test("aliases reach through a slot that its functions do not keep apart", () => {
    const tree = new Tree();
    const root = tree.add(0x08, port());
    tree.add(0x100, endpointConfig(multi), root);
    tree.add(0x101, endpointConfig(multi), root);
    tree.add(0x110, endpointConfig(nic), root, [0x01]);
    expect(tree.groups()).toEqual([["00:01.0"], ["01:00.0", "01:00.1", "01:02.0"]]);
  });

  test("also while the aliased function itself is in no group yet", () => {
    const tree = new Tree();
    const root = tree.add(0x08, port());
    tree.add(0x100, endpointConfig(multi), root);
    tree.add(0x110, endpointConfig(nic), root, [0x01]);
    tree.add(0x101, endpointConfig(multi), root);
    expect(tree.groups()).toEqual([["00:01.0"], ["01:00.0", "01:02.0", "01:00.1"]]);
  });
});
