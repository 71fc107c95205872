import { InputError } from "@iommu-lab/core";
import { describedFunctions, explainGroups, machineTree, parseMachineJson } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

const good = {
  machine: "a",
  devices: [
    {
      bdf: "0000:00:01.0",
      capabilities: [],
      class: "0604",
      pcie: { type: "Root Port" },
      bridge: { primary: "00", secondary: "01", subordinate: "01" },
    },
    { bdf: "0000:01:00.0", capabilities: [], class: "0200", pcie: { type: "Endpoint" } },
  ],
};

function messageOf(value: unknown): string {
  try {
    parseMachineJson(typeof value === "string" ? value : JSON.stringify(value), "m.json");
    return "";
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return error instanceof Error ? error.message : "";
  }
}

describe("machine descriptions in JSON", () => {
  test("a good one is grouped; the bridge's missing ACS is named", () => {
    const { groups } = explainGroups(describedFunctions(parseMachineJson(JSON.stringify(good))));
    expect(groups.map(({ members }) => members)).toEqual([["0000:00:01.0", "0000:01:00.0"]]);
  });

  test.each([
    ["{", /m\.json.*is no JSON/],
    ["[]", /found \[\], expected an object with a list "devices"/],
    [{ devices: [] }, /expected at least one function/],
    [{ devices: [{ capabilities: [] }] }, /devices\[0\]\.bdf: found nothing/],
    [{ devices: [{ bdf: "01:00.0", capabilities: [] }] }, /expected an address such as/],
    [{ devices: [good.devices[0], good.devices[0]] }, /devices\[1\]\.bdf.*no other function has/],
    [{ devices: [{ bdf: "0000:00:00.0" }] }, /devices\[0\]\.capabilities: found nothing/],
    [
      { devices: [{ ...good.devices[1], acs: { capability: ["SrcValid"] } }] },
      /acs\.control: found null, expected a list/,
    ],
    [
      { devices: [{ ...good.devices[1], sriov: { numVFs: "7" } }] },
      /devices\[0\]\.sriov\.numVFs: found "7", expected a whole/,
    ],
    [{ devices: [{ ...good.devices[1], pcie: { slot: 1 } }] }, /pcie\.slot: found 1, expected true or false/],
  ])("%j is refused with the place and what was expected", (value, expected) => {
    expect(messageOf(value)).toMatch(expected);
  });

  test("any JSON is read or refused, and what is read can be placed", () => {
    const field = fc.oneof(fc.jsonValue(), fc.constantFrom("0604", "Root Port", 7, -1, true, "zz"));
    const device = fc.record(
      {
        bdf: fc.constantFrom("0000:00:01.0", "0000:01:00.0", "0001:00:00.0", "0000:ff:1f.7"),
        capabilities: fc.constant([]),
        class: field,
        vendor: field,
        pcie: fc.oneof(field, fc.record({ type: field })),
        bridge: fc.oneof(
          field,
          fc.record({
            primary: fc.string(),
            secondary: fc.constantFrom("00", "01", "ff"),
            subordinate: fc.constantFrom("00", "ff"),
          }),
        ),
        sriov: fc.record({
          enable: fc.boolean(),
          numVFs: fc.integer(),
          vfOffset: fc.integer(),
          vfStride: fc.integer(),
        }),
        acs: field,
        ats: field,
      },
      { requiredKeys: ["bdf", "capabilities"] },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.array(device, { maxLength: 4 }).map((devices) => JSON.stringify({ devices })),
        ),
        (text) => {
          try {
            const functions = describedFunctions(parseMachineJson(text));
            const { segments } = machineTree(functions);
            expect(segments.flatMap((one) => one.functions)).toHaveLength(functions.length);
            explainGroups(functions);
          } catch (error) {
            expect(error).toBeInstanceOf(InputError);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
