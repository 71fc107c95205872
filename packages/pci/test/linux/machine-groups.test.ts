import { type MachineFunction, describedFunctions, explainGroups, parseLspciDump, pciKernels } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { dumpCases, machineCases, missingData } from "../import/third-party-data.ts";

/** A difference that is known: which machine, which of its functions, and why the data cannot give what the kernel saw. */
interface Explained {
  readonly machine: string;
  readonly functions: "all" | readonly string[];
  readonly reason: string;
}

const explained: readonly Explained[] = [
  {
    machine: "gigabyte-b760m-pericom",
    functions: "all",
    reason: "the groups are those of a proposed kernel series, in which one port without ACS joins its whole slot",
  },
  {
    machine: "apple-cometlake-titanridge",
    functions: ["0000:00:1f.0", "0000:00:1f.3", "0000:00:1f.4", "0000:00:1f.5"],
    reason: "the text of 00:1f.5 runs into that of functions that were cut out, and its group number is one of theirs",
  },
  {
    machine: "x299-skylake-e-asm1184",
    functions: [
      "0000:00:1c.0",
      "0000:00:1c.2",
      "0000:19:00.0",
      "0000:19:00.1",
      "0000:67:00.0",
      "0000:67:00.1",
      "0000:03:01.0",
      "0000:03:03.0",
      "0000:03:05.0",
      "0000:04:00.0",
      "0000:05:00.0",
      "0000:06:00.0",
    ],
    reason: "a list of groups without bus numbers, PCI Express types and ACS",
  },
  { machine: "spr-server-dmar-units", functions: "all", reason: "a list of groups without any capability data" },
];

const cases = machineCases();

/** Functions whose group is not the recorded one. */
function differences(name: string, functions: readonly MachineFunction[], kernel: string): readonly string[] {
  const one = cases.find((candidate) => candidate.name === name);
  if (one === undefined) {
    throw new Error(`no machine ${name}`);
  }
  const without = new Set(one.withoutGroup);
  const { groups } = explainGroups(functions, { kernel, withoutIommu: (bdf) => without.has(bdf) });
  const found = new Map(groups.flatMap(({ members }) => members.map((member) => [member, key(members)])));
  return one.groups.flatMap((members) => members.filter((member) => found.get(member) !== key(members)));
}

function key(members: readonly string[]): string {
  return members.toSorted().join(" ");
}

describe.skipIf(missingData !== undefined)(`groups of real machines ${missingData ?? ""}`, () => {
  const machines = cases.map((one) => one.name);

  test.each(machines.flatMap((name) => pciKernels.map((kernel) => [name, kernel] as const)))(
    "%s, %s: every difference is explained, every explanation is needed",
    (name, kernel) => {
      const one = cases.find((candidate) => candidate.name === name);
      const differing = differences(name, describedFunctions(one?.machine ?? { devices: [] }), kernel);
      const known = explained.find(({ machine }) => machine === name)?.functions ?? [];
      if (known === "all") {
        expect(differing.length).toBeGreaterThan(0);
      } else {
        expect(differing.toSorted()).toEqual(known.toSorted());
      }
    },
  );

  test("most machines have capability data and need no explanation", () => {
    expect(machines.filter((name) => explained.every(({ machine }) => machine !== name))).toHaveLength(6);
  });

  test("bytes of a machine give the same groups as its text", () => {
    const dump = dumpCases().find(({ name }) => name === "asus-alderlake-h");
    expect(differences("asus-alderlake-h", parseLspciDump(dump?.text ?? "").functions, "7.2")).toEqual([]);
  });

  test.each(dumpCases().map(({ name, text }) => [name, text] as const))(
    "%s: every function is in a group",
    (_, text) => {
      const { functions } = parseLspciDump(text);
      const { groups, withoutGroup } = explainGroups(functions);
      const all = [...groups.flatMap(({ members }) => members), ...withoutGroup.map((one) => one.function)];
      expect(all.toSorted()).toEqual(functions.map(({ bdf }) => bdf).toSorted());
    },
  );

  test.each(machines)(
    "%s: every member has a reason that names a rule, a source and, where ACS lacks, the bits",
    (name) => {
      const one = cases.find((candidate) => candidate.name === name);
      const { groups } = explainGroups(describedFunctions(one?.machine ?? { devices: [] }));
      for (const { members, reasons } of groups) {
        expect([...new Set(reasons.map(({ member }) => member))]).toEqual(members);
        for (const reason of reasons) {
          expect(reason.source).toMatch(/^Linux 7\.2 \w+\(\)/);
          expect(reason.rule === "path" ? reason.missing?.length : 1).toBeGreaterThan(0);
        }
      }
    },
  );
});
