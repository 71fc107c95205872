import type { InspectedFunction } from "@iommu-lab/pci";
import type pico from "picocolors";

type Colours = ReturnType<typeof pico.createColors>;

/** An inspected dump for people: a paragraph per function. */
export function formatInspection(
  functions: readonly InspectedFunction[],
  warnings: readonly string[],
  colours: Colours,
): string {
  const lines = functions.flatMap((one) => [...describe(one, colours), ""]);
  lines.push(...warnings.map((text) => colours.yellow(`warning: ${text}`)));
  return `${lines.join("\n").trimEnd()}\n`;
}

function describe(one: InspectedFunction, colours: Colours): string[] {
  const kind = one.pcie === undefined ? (one.headerType === 1 ? "bridge" : "conventional PCI") : one.pcie.type;
  const lines = [
    `${colours.bold(one.bdf)} ${one.vendor}:${one.device} class ${one.class} (rev ${one.revision}) ${kind}`,
  ];
  if (one.bridge !== undefined) {
    const { primary, secondary, subordinate } = one.bridge;
    lines.push(`  buses: primary ${primary}, secondary ${secondary}, subordinate ${subordinate}`);
  }
  for (const { offset, name, extended, version } of one.capabilities) {
    const at = `0x${offset.toString(16).padStart(extended ? 3 : 2, "0")}`;
    lines.push(`  ${at.padEnd(5)} ${name}${version === undefined ? "" : ` v${version}`}`);
  }
  for (const key of ["ats", "pri", "pasid", "acs", "sriov", "cxl"] as const) {
    const summary = one[key];
    if (summary !== undefined) {
      lines.push(`  ${key}: ${fields(summary)}`);
    }
  }
  lines.push(...one.warnings.map((text) => colours.yellow(`  warning: ${text}`)));
  return lines;
}

function fields(summary: object): string {
  return Object.entries(summary)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${Array.isArray(value) ? value.join("+") || "none" : String(value)}`)
    .join(" ");
}
