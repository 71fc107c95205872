import {
  describedFunctions,
  explainGroups,
  groupChanges,
  inspectFunction,
  parseLspciDump,
  parseLspciVerbose,
  wayToIsolation,
} from "@iommu-lab/pci";
import { expect, it } from "vitest";

// Your file here: readFileSync("lspci.txt", "utf8").
const text = `
00:1c.0 PCI bridge: a port without ACS
00: 86 80 b8 7a 07 00 10 00 11 00 04 06 00 00 01 00
10: 00 00 00 00 00 00 00 00 00 01 01 00 00 00 00 00
20: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
30: 00 00 00 00 40 00 00 00 00 00 00 00 00 00 00 00
40: 10 00 42 01 00 00 00 00 00 00 00 00 00 00 00 00

01:00.0 Ethernet controller: a card
00: 86 80 92 15 06 00 10 00 02 00 00 02 00 00 00 00
10: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
20: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
30: 00 00 00 00 40 00 00 00 00 00 00 00 00 00 00 00
40: 10 00 02 00 00 00 00 00 00 00 00 00 00 00 00 00
`;

it("a dump tells its groups, the reason for each, and what would change them", () => {
  const { functions } = parseLspciDump(text, "lspci.txt");
  const [port] = functions.map(({ bdf, bytes }) => inspectFunction(bdf, bytes));
  expect(port?.pcie?.type).toBe("Root Port");

  const groups = explainGroups(functions, { kernel: "6.12" });
  expect(groups.groups.map(({ members }) => members)).toEqual([["0000:00:1c.0", "0000:01:00.0"]]);
  const reason = groups.groups[0]?.reasons.at(-1);
  expect(reason?.hop).toBe("0000:00:1c.0");
  expect(reason?.missing).toEqual(["SrcValid", "ReqRedir", "CmpltRedir", "UpstreamFwd"]);

  expect(wayToIsolation(functions, "0000:01:00.0").steps.map(({ hop }) => hop)).toEqual(["0000:00:1c.0"]);
  const isolated = explainGroups(functions, { kernel: "6.12", assumedAcs: new Map([["0000:00:1c.0", "on"]]) });
  expect(groupChanges(groups, isolated)[0]?.after).toEqual([["0000:00:1c.0"], ["0000:01:00.0"]]);
});

it("decoded text does as well", () => {
  const { machine } = parseLspciVerbose(
    "01:00.0 Ethernet controller: a card\n\tCapabilities: [40] Express (v2) Endpoint",
  );
  expect(explainGroups(describedFunctions(machine)).groups.map(({ members }) => members)).toEqual([["0000:01:00.0"]]);
});
