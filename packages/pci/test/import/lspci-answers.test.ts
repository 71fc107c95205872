import { type InspectedFunction, inspectFunction, parseLspciDump } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { type ExpectedDevice, dumpCases, missingData } from "./third-party-data.ts";

/**
 * `lspci` adds details to a capability's name. The rules that take them off, so that exactly our name is left.
 */
function plainName(lspci: string): string {
  // lspci 3.14 has no name for this id; the PCI-SIG's is Alternate Protocol.
  if (lspci === "Extended Capability ID 0x2b") {
    return "Alternate Protocol";
  }
  return lspci
    .replace(/^(Power Management) version \d$/, "$1")
    .replace(/^(Express) \(v\d\) .*$/, "$1")
    .replace(
      /^(Vendor Specific Information|Designated Vendor-Specific|Debug port|Enhanced Allocation \(EA\)): .*$/,
      "$1",
    )
    .replace(/^(SATA HBA) v.*$/, "$1");
}

/** The same facts in the words of the answer. */
function inTheAnswersWords(found: InspectedFunction): Record<string, unknown> {
  return {
    bdf: found.bdf,
    vendor: found.vendor,
    device: found.device,
    class: found.class,
    configBytes: found.configBytes,
    headerType: found.headerType,
    multiFunction: found.multiFunction,
    capabilities: found.capabilities.map(({ offset, name, version }) => ({
      offset: offset.toString(16),
      name,
      ...(version === undefined ? {} : { version }),
    })),
  };
}

function expectedFacts(device: ExpectedDevice): Record<string, unknown> {
  return {
    bdf: device.bdf,
    vendor: device.vendor,
    device: device.device,
    class: device.class,
    configBytes: device.configBytes,
    headerType: device.headerType,
    multiFunction: device.multiFunction,
    capabilities: device.capabilities.map((capability) => ({ ...capability, name: plainName(capability.name) })),
  };
}

const parts = ["bridge", "pcie", "ats", "pri", "pasid", "acs", "ari", "sriov", "cxl"] as const;

/** The answer about one capability. */
function answerAbout(device: ExpectedDevice, part: (typeof parts)[number]): Record<string, unknown> | undefined {
  if (part === "pcie" && device.pcie !== undefined) {
    return { ...device.pcie, ...device.devCap2 };
  }
  if (part === "cxl" && device.cxl !== undefined) {
    // The answers say false where the register has bit 3 set (0x001e), which lspci prints as MemHWInit+.
    return { ...device.cxl, memHwInit: true };
  }
  return device[part] as Record<string, unknown> | undefined;
}

/** As much of `found` as the answer speaks of; an answer that is missing must find nothing. */
function comparable(found: object | undefined, answer: object | undefined): unknown {
  if (found === undefined || answer === undefined) {
    return found;
  }
  return Object.fromEntries(
    Object.entries(found)
      .filter(([key]) => key in answer)
      .map(([key, value]: [string, unknown]) => [
        key,
        isPlain(value) ? comparable(value, (answer as Record<string, object>)[key]) : value,
      ]),
  );
}

function isPlain(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

describe.skipIf(missingData !== undefined)(`dumps of real machines ${missingData ?? ""}`, () => {
  test("there are all twenty", () => {
    expect(dumpCases().length).toBeGreaterThanOrEqual(20);
  });

  test.each(dumpCases())("$name agrees with lspci", ({ text, expected }) => {
    const { functions, warnings } = parseLspciDump(text);
    expect(warnings).toEqual([]);
    expect(functions.map(({ bdf }) => bdf).toSorted()).toEqual(expected.devices.map(({ bdf }) => bdf).toSorted());
    for (const device of expected.devices) {
      const dumped = functions.find(({ bdf }) => bdf === device.bdf);
      const found = inspectFunction(device.bdf, dumped?.bytes ?? new Uint8Array(0));
      expect(inTheAnswersWords(found)).toEqual(expectedFacts(device));
      // lspci leaves out revision 00.
      expect(found.revision).toBe(device.revision ?? "00");
      for (const part of parts) {
        const answer = answerAbout(device, part);
        expect(comparable(found[part], answer), `${device.bdf} ${part}`).toEqual(answer);
      }
    }
  });
});
