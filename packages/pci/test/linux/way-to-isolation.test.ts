import {
  ConfigSpace,
  EXT_CAP_ID_SRIOV,
  type MachineFunction,
  endpointConfig,
  explainGroups,
  groupChanges,
  rootPortConfig,
  switchPortConfig,
  wayToIsolation,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { bridgeBytes, conventionalBytes } from "./tree.ts";

const nic = endpointConfig({ vendor: 0x8086, device: 0x1592, class: 0x020000 });
const good = { capability: 0x1f };

/** A root port with ACS, a switch whose downstream ports lack it, and a slot with two functions below one of them. */
const machine: readonly MachineFunction[] = [
  { bdf: "0000:00:01.0", bytes: rootPortConfig({ secondary: 1, subordinate: 4, acs: good }) },
  { bdf: "0000:01:00.0", bytes: switchPortConfig({ side: "upstream", primary: 1, secondary: 2, subordinate: 4 }) },
  { bdf: "0000:02:00.0", bytes: switchPortConfig({ side: "downstream", primary: 2, secondary: 3, subordinate: 3 }) },
  { bdf: "0000:02:01.0", bytes: switchPortConfig({ side: "downstream", primary: 2, secondary: 4, subordinate: 4 }) },
  { bdf: "0000:03:00.0", bytes: endpointConfig({ vendor: 1, device: 1, class: 0, multiFunction: true }) },
  { bdf: "0000:03:00.1", bytes: endpointConfig({ vendor: 1, device: 1, class: 0, multiFunction: true }) },
  { bdf: "0000:04:00.0", bytes: nic },
];

function groupsOf(options: Parameters<typeof explainGroups>[1] = {}): readonly (readonly string[])[] {
  return explainGroups(machine, options).groups.map(({ members }) => members.map((member) => member.slice(5)));
}

describe("what would make a function alone", () => {
  test("each place without ACS is a step, in the order in which the kernel meets them", () => {
    expect(groupsOf()).toEqual([["00:01.0"], ["01:00.0"], ["02:00.0", "03:00.0", "03:00.1"], ["02:01.0", "04:00.0"]]);
    const way = wayToIsolation(machine, "0000:03:00.1");
    expect(way.steps.map(({ hop }) => hop.slice(5))).toEqual(["02:00.0", "03:00.1"]);
    expect(way.steps.at(-1)?.members).toEqual(["0000:03:00.1"]);
    expect(way.steps[0]?.missing).toEqual(["SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"]);
    expect([way.isolated, way.obstacle]).toEqual([true, undefined]);
  });

  test("nothing is needed for what is alone", () => {
    expect(wayToIsolation(machine, "0000:01:00.0")).toEqual({ steps: [], isolated: true, obstacle: undefined });
  });

  test("a shared requester ID is an obstacle", () => {
    const behind: readonly MachineFunction[] = [
      { bdf: "0000:00:01.0", bytes: rootPortConfig({ secondary: 1, subordinate: 2, acs: good }) },
      { bdf: "0000:01:00.0", bytes: bridgeBytes(2, 7) },
      { bdf: "0000:02:01.0", bytes: conventionalBytes() },
    ];
    const way = wayToIsolation(behind, "0000:02:01.0");
    expect([way.isolated, way.steps, way.obstacle?.rule]).toEqual([false, [], "requester-id"]);
    expect(way.obstacle).toMatchObject({ hop: "0000:01:00.0", requesterId: "02:00.0" });
  });
});

describe("what changes between two groupings", () => {
  const change = (options: Parameters<typeof explainGroups>[1]) =>
    groupChanges(explainGroups(machine), explainGroups(machine, options));

  test("only groups that differ, each with what became of its functions", () => {
    expect(change({})).toEqual([]);
    expect(change({ assumedAcs: new Map([["0000:02:01.0", "on"]]) })).toEqual([
      { before: [["0000:02:01.0", "0000:04:00.0"]], after: [["0000:02:01.0"], ["0000:04:00.0"]] },
    ]);
    expect(change({ assumedAcs: new Map([["0000:00:01.0", "off"]]) })).toHaveLength(1);
  });

  test("a function that has no group any more is a change", () => {
    const [one] = change({ withoutIommu: (name) => name === "0000:04:00.0" });
    expect(one).toEqual({ before: [["0000:02:01.0", "0000:04:00.0"]], after: [["0000:02:01.0"]] });
    expect(groupChanges({ groups: [] }, { groups: [{ members: ["a"] }] })).toEqual([{ before: [], after: [["a"]] }]);
  });
});

describe("firmware and kernel decide when ACS comes on", () => {
  test("a device tree is too late for 6.1 and 6.12, not for 7.2, and without an IOMMU nothing is switched on", () => {
    const deviceTree = (kernel: string) => groupsOf({ kernel, firmware: "device-tree" }).length;
    expect(["6.1", "6.12", "7.2"].map(deviceTree)).toEqual([1, 1, 4]);
    expect(["6.1", "6.12", "7.2"].map((kernel) => groupsOf({ kernel, firmware: "never" }).length)).toEqual([1, 1, 1]);
    expect(["6.1", "6.12"].map((kernel) => groupsOf({ kernel }).length)).toEqual([4, 4]);
  });
});

describe("a machine with several roots and virtual functions", () => {
  const pf = new ConfigSpace(
    endpointConfig({ vendor: 1, device: 1, class: 0x020000, sriov: { totalVfs: 2, vfDevice: 2 } }),
  );
  const sriov = pf.findExtendedCapability(EXT_CAP_ID_SRIOV);
  pf.poke16(sriov + 8, 9);
  pf.poke16(sriov + 0x10, 2);
  const roots: readonly MachineFunction[] = [
    { bdf: "0000:00:01.0", bytes: rootPortConfig({ secondary: 1, subordinate: 1 }) },
    { bdf: "0000:01:00.0", bytes: pf.toBytes() },
    { bdf: "0000:01:00.1", bytes: nic },
    { bdf: "0000:01:00.2", bytes: nic },
    { bdf: "0001:00:01.0", bytes: rootPortConfig({ secondary: 1, subordinate: 1 }) },
    { bdf: "0001:01:00.0", bytes: nic },
  ];

  test("ACS at one root's port sets the PF and its VFs apart and leaves the other root as it was", () => {
    const before = explainGroups(roots);
    expect(before.warnings).toEqual([]);
    const after = explainGroups(roots, { assumedAcs: new Map([["0000:00:01.0", "on"]]) });
    expect(groupChanges(before, after)).toEqual([
      {
        before: [["0000:00:01.0", "0000:01:00.0", "0000:01:00.1", "0000:01:00.2"]],
        after: [["0000:00:01.0"], ["0000:01:00.0"], ["0000:01:00.1"], ["0000:01:00.2"]],
      },
    ]);
    const [, , vf] = after.groups;
    expect(vf?.reasons.at(-1)?.text).toBe(
      "0000:01:00.1 starts a group: it is a virtual function, which counts as alone in its slot",
    );
  });
});
