import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import {
  ConfigSpace,
  EXT_CAP_ID_SRIOV,
  type GroupingOptions,
  type MachineFunction,
  endpointConfig,
  explainGroups,
  parseLspciDump,
} from "@iommu-lab/pci";
import { type Phase, type Recording, parseRecording } from "@iommu-lab/truth";
import { describe, expect, it } from "vitest";
import { directory } from "./support/recordings.ts";

/** Where all recordings are; some of them are committed. */
const everywhere =
  process.env["IOMMU_LAB_RECORDINGS"] ?? path.resolve(import.meta.dirname, "../../../..", "shared", "recordings");

interface Case {
  readonly name: string;
  readonly folder: string;
}

const known: readonly string[] = [
  "acpi-amd-eph-7.2",
  "acpi-vtd-rmrr-7.2",
  "poke-smmu-ats-ssid-7.2",
  "smmu-7.2",
  "vtd-legacy-dt-6.12",
  "vtd-legacy-dt-7.2",
  "vtd-sm-fsts-7.2",
];

/** Rescans in which the kernel gave bridges new bus numbers: what they added is no function of the dump any more. */
const renumbered: Readonly<Record<string, string>> = {
  "smmu-7.2": "rescan:rp6",
  "poke-smmu-ats-ssid-7.2": "rescan:rp6",
};

function folderOf(name: string): string | undefined {
  return [directory, everywhere].find((folder) => existsSync(path.join(folder, `${name}.json`)));
}

const cases: readonly Case[] = known.flatMap((name) => {
  const folder = folderOf(name);
  return folder === undefined ? [] : [{ name, folder }];
});
const missing = known.filter((name) => folderOf(name) === undefined);

function load({ name, folder }: Case): {
  readonly recording: Recording;
  readonly functions: readonly MachineFunction[];
} {
  const text = readFileSync(path.join(folder, `${name}.json`), "utf8");
  const dump = readFileSync(path.join(folder, `${name}.lspci-xxxx.txt`), "utf8");
  return { recording: parseRecording(text, name), functions: parseLspciDump(dump).functions };
}

function optionsOf(name: string): GroupingOptions {
  const isSmmu = name.includes("smmu");
  return {
    kernel: /-(\d+\.\d+)$/.exec(name)?.[1] ?? "",
    firmware: isSmmu ? "device-tree" : "acpi",
    exclusiveRequesterIds: isSmmu,
  };
}

/** Groups as sets of addresses, in one order. */
function sets(groups: readonly (readonly string[])[]): readonly string[] {
  return groups.map((members) => members.toSorted().join(" ")).toSorted();
}

function recordedSets(phase: Phase, strange: ReadonlySet<string> = new Set()): readonly string[] {
  const groups = [...(phase.state?.groups.values() ?? [])].map(({ devices }) => devices);
  return sets(groups.map((group) => group.filter((bdf) => !strange.has(bdf))).filter((group) => group.length > 0));
}

/** The machine with VFs of the PFs that the state shows: their PF's registers say so, their config space is made up. */
function withVirtualFunctions(functions: readonly MachineFunction[], present: ReadonlySet<string>): MachineFunction[] {
  const dumped = new Set(functions.map(({ bdf }) => bdf));
  const virtual = [...present].filter((bdf) => !dumped.has(bdf));
  return [
    ...functions.map((one) => ({ ...one, bytes: enableVfs(one, virtual) })),
    ...virtual.map((bdf) => ({ bdf, bytes: endpointConfig({ vendor: 1, device: 1, class: 0x020000 }) })),
  ];
}

function enableVfs({ bdf, bytes }: MachineFunction, virtual: readonly string[]): Uint8Array {
  const config = new ConfigSpace(bytes);
  const at = config.findExtendedCapability(EXT_CAP_ID_SRIOV);
  const count = virtual.filter((one) => one.slice(0, 7) === bdf.slice(0, 7)).length;
  if (at !== 0) {
    config.poke16(at + 8, count === 0 ? 0 : 9);
    config.poke16(at + 0x10, count);
  }
  return config.toBytes();
}

describe("groups of recorded kernels", () => {
  it.skipIf(missing.length > 0)(`all are there ${missing.join(" ")}`, () => {
    expect(cases).toHaveLength(known.length);
  });

  it.each(cases)("$name: at boot, every function is in the group that the kernel gave it", (one) => {
    const { recording, functions } = load(one);
    const { groups, warnings } = explainGroups(functions, optionsOf(one.name));
    const [boot] = recording.phases;
    if (boot === undefined) {
      throw new Error("no phase");
    }
    expect(sets(groups.map(({ members }) => members))).toEqual(recordedSets(boot));
    expect(groups.length).toBeGreaterThan(20);
    expect(warnings).toEqual([]);
  });

  it.each(cases)("$name: after every removal, rescan and change of the number of VFs", (one) => {
    const { recording, functions } = load(one);
    const order: string[] = [];
    const strange = new Set<string>();
    let before: ReadonlySet<string> = new Set(functions.map(({ bdf }) => bdf));
    let changes = 0;
    for (const phase of recording.phases) {
      const now = new Set(phase.state?.devices.keys());
      const added = [...now].filter((bdf) => !before.has(bdf));
      if (phase.name === renumbered[one.name]) {
        added.forEach((bdf) => strange.add(bdf));
      }
      if (now.size === 0 || (added.length === 0 && now.size === before.size)) {
        continue;
      }
      // What comes back, or comes with a PF, is new; what was there keeps its place.
      order.push(...added);
      const here = new Set([...now].filter((bdf) => !strange.has(bdf)));
      const machine = withVirtualFunctions(functions, here).filter(({ bdf }) => here.has(bdf));
      const hotAdded = order.filter((bdf) => here.has(bdf));
      const { groups } = explainGroups(machine, { ...optionsOf(one.name), hotAdded });
      const found = sets(groups.map(({ members }) => members));
      expect([phase.name, found]).toEqual([phase.name, recordedSets(phase, strange)]);
      changes += 1;
      before = now;
    }
    expect(changes).toBeGreaterThanOrEqual(3);
  });

  it("a function above 0 that comes back alone is not taken for one of several", () => {
    const one = cases.find(({ name }) => name === "vtd-sm-fsts-7.2");
    if (one === undefined) {
      throw new Error("not committed");
    }
    const { functions } = load(one);
    const groupOf = (options: GroupingOptions): readonly string[] | undefined =>
      explainGroups(functions, options).groups.find(({ members }) => members.includes("0000:0c:00.1"))?.members;
    expect(groupOf({})).toEqual(["0000:0c:00.0", "0000:0c:00.1"]);
    expect(groupOf({ hotAdded: ["0000:0c:00.1"] })).toEqual(["0000:0c:00.1"]);
  });
});

describe("recordings that nobody lists", () => {
  it.skipIf(!existsSync(everywhere))("do not exist", () => {
    const kernels = readdirSync(everywhere).filter((file) => file.endsWith(".lspci-xxxx.txt"));
    expect(kernels.map((file) => file.replace(".lspci-xxxx.txt", "")).toSorted()).toEqual(known);
  });
});
