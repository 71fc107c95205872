import { describedConfig } from "../import/described-config.ts";
import type { DescribedCapability, DescribedFunction, MachineDescription } from "../import/machine-description.ts";
import { pathBuses } from "./described-path.ts";
import type { MachineFunction } from "./machine-function.ts";

const UNKNOWN_VENDOR = 0xfffe;
const MEMORY_AND_MASTER = 6;

/**
 * The functions of a machine that decoded text describes, with config space made from what the text tells. What it does not
 * tell is listed with each function. Bus numbers come from the paths of what is below a bridge where the text gives no other.
 */
export function describedFunctions(description: MachineDescription): readonly MachineFunction[] {
  const buses = pathBuses(description.devices);
  return description.devices.map((device) => {
    const { bytes, warnings } = describedConfig(withCapabilities(device));
    const unknown = [...unknownOf(device), ...warnings];
    if (device.vendor === undefined) {
      bytes[0] = UNKNOWN_VENDOR & 0xff;
      bytes[1] = UNKNOWN_VENDOR >>> 8;
    }
    // A machine that runs has memory and mastering on.
    bytes[4] = (bytes[4] ?? 0) | MEMORY_AND_MASTER;
    const below = buses.get(device.bdf);
    if (device.bridge === undefined && below !== undefined) {
      bytes[0x18] = Number.parseInt(device.bdf.slice(-7, -5), 16);
      bytes[0x19] = below.secondary;
      bytes[0x1a] = below.subordinate;
    }
    return { bdf: device.bdf, bytes, unknown };
  });
}

function unknownOf({ vendor, device, multiFunction }: DescribedFunction): readonly string[] {
  return [
    ...(vendor === undefined ? ["vendor"] : []),
    ...(device === undefined ? ["device"] : []),
    ...(multiFunction === undefined ? ["multi-function bit"] : []),
  ];
}

/** Adds the capabilities that are described without being listed, at places of their own. */
function withCapabilities(device: DescribedFunction): DescribedFunction {
  const has = (name: RegExp): boolean => device.capabilities.some((one) => name.test(one.name));
  const added: DescribedCapability[] = [];
  if (device.pcie !== undefined && !has(/^(?:PCI-?)?Express\b/i)) {
    added.push({ offset: "40", name: "Express" });
  }
  if (device.acs !== undefined && !has(/^Access Control Services/i)) {
    added.push({ offset: "100", name: "Access Control Services", version: 1 });
  }
  return added.length === 0 ? device : { ...device, capabilities: [...device.capabilities, ...added] };
}
