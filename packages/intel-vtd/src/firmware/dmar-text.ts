import { hex } from "@iommu-lab/core";
import type { DeviceScope, DmarStructure, DmarTable } from "./dmar.ts";
import { ALL_PORTS, ATC_REQUIRED, INCLUDE_PCI_ALL, SCOPE_TYPE } from "./dmar.ts";

/** What a DMAR means: one sentence for the table, each structure and each oddity. */
export function describeDmar(table: DmarTable): readonly string[] {
  const remapping = (table.flags & 1) === 0 ? "not supported" : "supported";
  const optIn = (table.flags & 4) === 0 ? "" : ", firmware asks for DMA protection (external ports are untrusted)";
  return [
    `Host addresses have ${table.hostAddressWidth} bits; interrupt remapping is ${remapping}${optIn}.`,
    ...table.structures.map((structure) => describeStructure(structure)),
    ...table.warnings.map((warning) => `Warning: ${warning}.`),
  ];
}

function describeStructure(structure: DmarStructure): string {
  switch (structure.kind) {
    case "drhd": {
      const all = (structure.flags & INCLUDE_PCI_ALL) !== 0;
      const whom = all ? "everything of the segment that no other unit names" : describeScopes(structure.scopes);
      return `The unit at ${hex(structure.base)} (segment ${structure.segment}) serves ${whom}.`;
    }
    case "rmrr":
      return `${describeScopes(structure.scopes)} must reach ${hex(structure.base)} to ${hex(structure.limit)} 1:1, whatever domain is attached.`;
    case "atsr":
      return (structure.flags & ALL_PORTS) === 0
        ? `ATS passes the root ports ${describeScopes(structure.scopes)}.`
        : `ATS passes every root port of segment ${structure.segment}.`;
    case "satc":
      return (structure.flags & ATC_REQUIRED) === 0
        ? `${describeScopes(structure.scopes)} may use ATS.`
        : `${describeScopes(structure.scopes)} need their ATC; in legacy mode the hardware handles ATS by itself and software leaves it off.`;
    case "sidp":
      return `Properties of integrated devices: ${structure.scopes.map((scope) => `${describeScope(scope)} flags ${hex(scope.flags)}`).join(", ")}.`;
    case "rhsa":
      return `The unit at ${hex(structure.base)} belongs to proximity domain ${structure.proximityDomain}.`;
    case "andd":
      return `ACPI device ${structure.deviceName} is device number ${structure.deviceNumber} of the scopes of type 5.`;
    default:
      return `A structure of unknown type ${structure.type} is skipped.`;
  }
}

const nobody = "no device";

function describeScopes(scopes: readonly DeviceScope[]): string {
  return scopes.length === 0 ? nobody : scopes.map((scope) => describeScope(scope)).join(", ");
}

function describeScope(scope: DeviceScope): string {
  const hops = scope.path.map((hop) => `${twoDigits(hop.device)}.${hop.function}`);
  const place = `${twoDigits(scope.startBus)}:${hops.join("/")}`;
  switch (scope.type) {
    case SCOPE_TYPE.endpoint:
      return place;
    case SCOPE_TYPE.bridge:
      return `${place} and what is below it`;
    case SCOPE_TYPE.ioapic:
      return `I/O APIC ${scope.enumerationId} (${place})`;
    case SCOPE_TYPE.hpet:
      return `HPET ${scope.enumerationId} (${place})`;
    case SCOPE_TYPE.namespace:
      return `ACPI device ${scope.enumerationId} (${place})`;
    default:
      return `scope of type ${scope.type} (${place})`;
  }
}

function twoDigits(value: number): string {
  return value.toString(16).padStart(2, "0");
}
