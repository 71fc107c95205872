import { InputError } from "@iommu-lab/core";
import { explainGroups, machineTopology, machineTree, pciKernels } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Machine } from "../support.ts";
import { machineOf, nonsense, slots } from "./random-machine.ts";

test("20,000 machines of nonsense: each function is in one group, or the input is refused", () => {
  fc.assert(
    fc.property(nonsense, fc.constantFrom(...pciKernels), (machine, kernel) => {
      try {
        const { groups, withoutGroup } = explainGroups(machine, { kernel });
        const grouped = groups.reduce((sum, { members }) => sum + members.length, withoutGroup.length);
        expect(grouped).toBe(machine.length);
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
      }
    }),
    { numRuns: 20_000 },
  );
});

test("2,000 random machines: a live platform makes the groups that the explanation says", () => {
  fc.assert(
    fc.property(slots, (content) => {
      const machine = new Machine(machineTopology(machineTree(machineOf(content))), { driver: true });
      machine.platform.boot();
      const live = machine.platform.iommu.groups.map(({ members }) => members.map(({ device }) => device.name));
      expect(live).toEqual(explainGroups(machineOf(content)).groups.map(({ members }) => members));
    }),
    { numRuns: 2000 },
  );
});
