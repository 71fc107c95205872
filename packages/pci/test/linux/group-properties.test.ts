import { InputError } from "@iommu-lab/core";
import {
  type ExplainedGroups,
  type MachineFunction,
  explainGroups,
  groupChanges,
  machineTopology,
  machineTree,
  pciKernels,
} from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Machine } from "../support.ts";
import { type Slot, machineOf, nonsense, slots } from "./random-machine.ts";

const RUNS = 50;

function sets({ groups }: ExplainedGroups): readonly string[] {
  return groups.map(({ members }) => members.toSorted().join(" ")).toSorted();
}

function expectPartition(machine: readonly MachineFunction[], { groups, withoutGroup }: ExplainedGroups): void {
  const all = [...groups.flatMap(({ members }) => members), ...withoutGroup.map((one) => one.function)];
  expect(all.toSorted()).toEqual(machine.map(({ bdf }) => bdf).toSorted());
  expect(groups.every(({ members }) => members.length > 0)).toBe(true);
}

/** Gives every port, switch and function all of ACS, and takes quirks and conventional buses away. */
function isolated(slot: Slot): Slot {
  const acs = { capability: 0x1f, control: 0 };
  switch (slot.kind) {
    case "endpoint":
      return { ...slot, functions: slot.functions.map(() => acs), quirk: false };
    case "port":
      return { ...slot, acs, below: slot.below.map((one) => isolated(one)) };
    case "switch":
      return { ...slot, ports: slot.ports.map(({ below }) => ({ acs, below: below.map((one) => isolated(one)) })) };
    default:
      return { kind: "endpoint", functions: [acs], quirk: false };
  }
}

describe("groups of random machines", () => {
  test("are a partition, with a reason for each member, under every kernel", () => {
    fc.assert(
      fc.property(
        slots,
        fc.constantFrom(...pciKernels),
        fc.constantFrom("acpi", "device-tree"),
        (content, kernel, firmware) => {
          const machine = machineOf(content);
          const result = explainGroups(machine, { kernel, firmware });
          expectPartition(machine, result);
          expect(result.warnings).toEqual([]);
          for (const { members, reasons } of result.groups) {
            expect(new Set(reasons.map(({ member }) => member)).size).toBe(members.length);
          }
        },
      ),
      { numRuns: RUNS },
    );
  });

  test("do not depend on the order in which functions are listed, nor on the order of slots", () => {
    fc.assert(
      fc.property(slots, fc.infiniteStream(fc.nat()), (content, keys) => {
        const machine = machineOf(content);
        const shuffled = machine
          .map((one) => ({ one, key: keys.next().value ?? 0 }))
          .toSorted((a, b) => a.key - b.key)
          .map(({ one }) => one);
        expect(sets(explainGroups(shuffled))).toEqual(sets(explainGroups(machineOf(content))));
        const sizes = (result: ExplainedGroups): readonly number[] =>
          result.groups.map(({ members }) => members.length).toSorted((a, b) => a - b);
        expect(sizes(explainGroups(machineOf(content, true)))).toEqual(sizes(explainGroups(machineOf(content))));
      }),
      { numRuns: RUNS },
    );
  });

  test("hold everything that shares a requester ID together", () => {
    fc.assert(
      fc.property(slots, (content) => {
        const machine = machineOf(content);
        const { groups } = explainGroups(machine);
        const groupOf = new Map(groups.flatMap((group) => group.members.map((member) => [member, group] as const)));
        const { segments } = machineTree(machine);
        for (const { name, parent } of segments.flatMap(({ functions }) => functions)) {
          const isBridge = parent?.pcieType === undefined || parent.pcieType === 7;
          if (parent !== undefined && isBridge) {
            expect(groupOf.get(name)).toBe(groupOf.get(parent.name));
          }
        }
      }),
      { numRuns: RUNS },
    );
  });

  test("are singletons where everything isolates", () => {
    fc.assert(
      fc.property(slots, fc.constantFrom(...pciKernels), (content, kernel) => {
        const machine = machineOf(content.map((slot) => isolated(slot)));
        expect(explainGroups(machine, { kernel }).groups).toHaveLength(machine.length);
      }),
      { numRuns: RUNS },
    );
  });

  test("become no finer when ACS is taken away, and no coarser when it is added", () => {
    fc.assert(
      fc.property(slots, fc.nat(), fc.constantFrom("on", "off"), (content, pick, state) => {
        const machine = machineOf(content);
        const name = machine[pick % machine.length]?.bdf ?? "";
        const before = explainGroups(machine);
        const after = explainGroups(machineOf(content), { assumedAcs: new Map([[name, state]]) });
        for (const change of groupChanges(before, after)) {
          const [finer, coarser] = state === "on" ? [change.after, change.before] : [change.before, change.after];
          expect(finer.length).toBeGreaterThan(coarser.length);
          expect(coarser).toHaveLength(1);
        }
      }),
      { numRuns: RUNS },
    );
  });

  test("are those of a live platform", () => {
    fc.assert(
      fc.property(slots, (content) => {
        const platform = new Machine(machineTopology(machineTree(machineOf(content))), { driver: true });
        platform.platform.boot();
        const live = platform.platform.iommu.groups.map(({ members }) => members.map(({ device }) => device.name));
        expect(live).toEqual(explainGroups(machineOf(content)).groups.map(({ members }) => members));
      }),
      { numRuns: 25 },
    );
  });
});

describe("functions whose data mean nothing", () => {
  test("never break the walk: each is in one group, or the input is refused", () => {
    fc.assert(
      fc.property(nonsense, fc.constantFrom(...pciKernels), (machine, kernel) => {
        try {
          expectPartition(machine, explainGroups(machine, { kernel }));
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("never break a live platform", () => {
    fc.assert(
      fc.property(nonsense, (machine) => {
        const live = new Machine(machineTopology(machineTree(machine)), { driver: true });
        live.platform.boot();
        expect(live.platform.iommu.groups.length).toBeLessThanOrEqual(machine.length * 5);
      }),
      { numRuns: 60 },
    );
  });
});
