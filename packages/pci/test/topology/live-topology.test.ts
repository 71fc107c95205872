import { readFileSync } from "node:fs";
import {
  type MachineFunction,
  type MachineTopologyOptions,
  explainGroups,
  machineTopology,
  machineTree,
  parseLspciDump,
  parseRid,
  rootPortConfig,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { dumpCases } from "../import/third-party-data.ts";
import { bridgeBytes, conventionalBytes } from "../linux/tree.ts";
import { Machine } from "../support.ts";

/** A recorded machine: switch, multifunction slots, ports without ACS, a conventional bridge, PFs. */
const recorded = parseLspciDump(
  readFileSync(new URL("../../../truth/recordings/vtd-legacy-dt-7.2.lspci-xxxx.txt", import.meta.url), "utf8"),
).functions;

function boot(functions: readonly MachineFunction[], options: MachineTopologyOptions = {}): Machine {
  const machine = new Machine(machineTopology(machineTree(functions), options), { driver: true });
  machine.platform.boot();
  return machine;
}

function groupsOf(machine: Machine): readonly string[] {
  return machine.platform.iommu.groups.map(({ members }) => members.map(({ device }) => device.name).join(" "));
}

function groupWith(machine: Machine, bdf: string): string | undefined {
  return groupsOf(machine).find((members) => members.includes(bdf));
}

const driver = { name: "nic", managesDma: false };

describe("a machine that was read in, live", () => {
  test("the platform makes the groups that the explanation says", () => {
    const { groups } = explainGroups(recorded);
    const machine = boot(recorded);
    expect(groupsOf(machine)).toEqual(groups.map(({ members }) => members.join(" ")));
    expect(groups.length).toBe(27);
  });

  test.each(dumpCases().map(({ name, text }) => [name, text] as const))("%s: so does every dump", (_, text) => {
    const { functions } = parseLspciDump(text);
    const { groups, withoutGroup, warnings } = explainGroups(functions);
    const without = new Set(withoutGroup.map((one) => one.function));
    // A function that a kernel's scan does not find is in no platform's groups.
    const lost = new Set(warnings.filter((one) => one.text.includes("would not find")).map(({ bdf }) => bdf));
    const machine = boot(functions, { without: (name) => without.has(name) });
    const expected = groups.map(({ members }) => members.filter((member) => !lost.has(member)));
    expect(groupsOf(machine).toSorted()).toEqual(
      expected
        .filter((members) => members.length > 0)
        .map((members) => members.join(" "))
        .toSorted(),
    );
  });

  test("DMA from behind a PCIe-to-PCI bridge carries the ID that the bridge lends, and the data come back", () => {
    const machine = boot(recorded);
    machine.iommu.map(-1, 0x1234, { host: machine.buffer, read: true, write: true });
    const endpoint = machine.fabric.endpoint(parseRid("0b:02.0"));
    machine.iommu.seen.length = 0;
    expect(endpoint.untranslatedWrite(0x1234, 8, 0xc0ffee).status).toBe("success");
    expect(endpoint.untranslatedRead(0x1234, 8).value).toBe(0xc0ffee);
    expect(machine.iommu.seen.map(({ rid }) => rid)).toEqual([parseRid("0b:00.0"), parseRid("0b:00.0")]);
  });

  test("behind a conventional bridge it carries the bridge's own, however many there are", () => {
    const machine = boot([
      { bdf: "0000:00:1e.0", bytes: bridgeBytes(1, "conventional") },
      { bdf: "0000:01:00.0", bytes: bridgeBytes(2, "conventional") },
      { bdf: "0000:02:03.0", bytes: conventionalBytes() },
    ]);
    machine.fabric.endpoint(parseRid("02:03.0")).untranslatedRead(1, 0);
    expect(machine.iommu.seen.at(-1)?.rid).toBe(parseRid("00:1e.0"));
    expect(groupsOf(machine)).toEqual(["0000:00:1e.0 0000:01:00.0 0000:02:03.0"]);
  });

  test("Source Validation of the port above lets the lent ID pass", () => {
    const machine = boot(recorded);
    const port = machine.dev(parseRid("00:08.0"));
    expect(port.read16(port.acsCap + 6) & 1).toBe(1);
    machine.fabric.endpoint(parseRid("0b:01.0")).untranslatedRead(1, 0);
    expect(machine.iommu.seen.at(-1)?.rid).toBe(parseRid("0b:00.0"));
  });

  test("a segment that is not there is refused; names carry the segment", () => {
    const far = [{ bdf: "0002:00:00.0", bytes: rootPortConfig({ secondary: 1, subordinate: 1 }) }];
    expect(() => machineTopology(machineTree(far), { segment: 1 })).toThrow(/no segment 1: expected one of 2/);
    expect(boot(far).platform.iommu.devices.map(({ name }) => name)).toEqual(["0002:00:00.0"]);
  });
});

describe("functions that come and go", () => {
  test("what is removed with its port and comes back has the groups that it had", () => {
    const machine = boot(recorded);
    const before = groupsOf(machine);
    const port = machine.device(parseRid("00:07.0"));
    machine.run(machine.bus.remove(port));
    expect(machine.bus.devices).toHaveLength(recorded.length - 6);
    expect(groupWith(machine, "0000:08:00.0")).toBeUndefined();
    machine.run(machine.bus.scan());
    expect(groupsOf(machine).toSorted()).toEqual(before.toSorted());
  });

  test("a function above 0 without the header bit comes back alone, later ones of its slot as well", () => {
    const machine = boot(recorded);
    machine.run(machine.bus.remove(machine.device(parseRid("0c:00.1"))));
    machine.run(machine.bus.scan());
    expect(groupWith(machine, "0000:0c:00.1")).toBe("0000:0c:00.1");
    expect(groupWith(machine, "0000:0c:00.0")).toBe("0000:0c:00.0");
    expect(machine.dev(parseRid("0c:00.1")).multifunction).toBe(true);
  });

  test("sriov_numvfs brings VFs forth, each alone, and takes them away", () => {
    const machine = boot(recorded);
    const physfn = machine.device(parseRid("04:00.0"));
    const before = groupsOf(machine);
    expect(machine.errno(machine.bus.setNumVfs(physfn, 2))).toBe("ENOENT");
    machine.run(machine.bus.bind(physfn, driver));
    expect(machine.errno(machine.bus.setNumVfs(physfn, 99))).toBe("ERANGE");
    const start = machine.platform.clock.now;
    machine.run(machine.bus.setNumVfs(physfn, 2));
    expect(machine.platform.clock.now - start).toBe(100_000_000);
    expect(groupsOf(machine).slice(before.length)).toEqual(["0000:04:10.0", "0000:04:10.2"]);
    expect(machine.errno(machine.bus.setNumVfs(physfn, 1))).toBe("EBUSY");
    machine.run(machine.bus.setNumVfs(physfn, 0));
    expect(groupsOf(machine)).toEqual(before);
    machine.run(machine.bus.setNumVfs(physfn, 1));
    expect(groupsOf(machine).slice(before.length)).toEqual(["0000:04:10.0"]);
  });

  test("a VF sends nothing before it is enabled, and nothing when it is beyond NumVFs", () => {
    const machine = boot(recorded);
    const physfn = machine.device(parseRid("04:00.0"));
    const second = machine.fabric.endpoint(parseRid("04:10.2"));
    second.writeConfig(4, 2, 6);
    expect(second.untranslatedRead(1, 0).sent).toBe(false);
    machine.run(machine.bus.bind(physfn, driver));
    machine.run(machine.bus.setNumVfs(physfn, 1));
    expect(second.untranslatedRead(1, 0).reason).toBe("VF Enable is 0");
    machine.run(machine.bus.setNumVfs(physfn, 0));
    machine.run(machine.bus.setNumVfs(physfn, 2));
    machine.run(machine.bus.bind(machine.device(second.rid), driver));
    expect(second.untranslatedRead(1, 0).sent).toBe(true);
    expect(machine.iommu.seen.at(-1)?.rid).toBe(second.rid);
  });

  test("removing a PF takes its VFs along", () => {
    const machine = boot(recorded);
    const physfn = machine.device(parseRid("04:00.0"));
    machine.run(machine.bus.bind(physfn, driver));
    machine.run(machine.bus.setNumVfs(physfn, 2));
    machine.run(machine.bus.remove(physfn));
    expect(machine.bus.devices.filter(({ name }) => name.startsWith("0000:04:"))).toEqual([]);
  });
});
