import {
  type DescribedFunction,
  type InspectedFunction,
  inspectFunction,
  parseLspciDump,
  parseLspciVerbose,
  pciLayouts,
} from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { lspci, missingLspci } from "./lspci.ts";
import { dumpCases, missingData } from "./third-party-data.ts";

const missing = missingData ?? missingLspci;

/** Fields of the header as the codec names them. */
function headerFields(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const type = (bytes[0x0e] ?? 0) & 0x7f;
  const codec = pciLayouts.find(({ kind }) => kind === (type === 1 ? "pci-bridge-header" : "pci-header"));
  return type > 1 || codec === undefined ? {} : codec.decode(bytes.slice(0, 64)).fields;
}

/** The part of `known` that `other` speaks of as well. */
function shared(known: object | undefined, other: object | undefined): Record<string, unknown> {
  return Object.fromEntries(Object.entries(known ?? {}).filter(([key]) => other !== undefined && key in other));
}

/** pciutils 3.9 does not print PRG Response PASID Required. */
function told(summary: object | undefined): object | undefined {
  if (summary === undefined || !("status" in summary)) {
    return summary;
  }
  const status = summary.status as readonly string[];
  return { ...summary, status: status.filter((word) => word !== "PASID") };
}

function compare(described: DescribedFunction, found: InspectedFunction, bytes: Uint8Array): void {
  const where = described.bdf;
  for (const word of ["vendor", "device", "class", "subsystem", "bridge"] as const) {
    if (described[word] !== undefined && found[word] !== undefined) {
      expect(described[word], `${where} ${word}`).toEqual(found[word]);
    }
  }
  const header = headerFields(bytes);
  expect(shared(described.header, header), `${where} header`).toEqual(shared(header, described.header));
  expect(
    described.capabilities.map(({ offset, version }) => [offset, version]),
    `${where} capabilities`,
  ).toEqual(found.capabilities.map(({ offset, version }) => [offset.toString(16), version]));
  for (const [index, { name, fields }] of described.capabilities.entries()) {
    const known = found.capabilities[index]?.fields;
    expect(shared(fields, known), `${where} ${name}`).toEqual(shared(known, fields));
  }
  for (const part of ["pcie", "ats", "pri", "pasid", "acs", "ari", "sriov", "cxl"] as const) {
    expect(shared(told(described[part]), found[part]), `${where} ${part}`).toEqual(
      shared(told(found[part]), described[part]),
    );
    expect(described[part] === undefined, `${where} ${part}`).toBe(found[part] === undefined);
  }
}

describe.skipIf(missing !== undefined)(`decoded text of real machines ${missing ?? ""}`, () => {
  for (const options of [["-vvv", "-n"], ["-vvv"], ["-vvv", "-nn"]]) {
    test.each(dumpCases())(`$name: lspci ${options.join(" ")} says what the bytes say`, ({ text }) => {
      const { functions } = parseLspciDump(text);
      const { machine, warnings } = parseLspciVerbose(lspci(text, ...options));
      expect(warnings).toEqual([]);
      expect(machine.devices.map(({ bdf }) => bdf).toSorted()).toEqual(functions.map(({ bdf }) => bdf).toSorted());
      for (const described of machine.devices) {
        const bytes = functions.find(({ bdf }) => bdf === described.bdf)?.bytes ?? new Uint8Array(0);
        compare(described, inspectFunction(described.bdf, bytes), bytes);
        if (options.length === 2 && options[1] === "-n") {
          expect(described.vendor).toMatch(/^[\da-f]{4}$/);
        }
        expect(described.class).toMatch(/^[\da-f]{4}$/);
      }
    });
  }
});
