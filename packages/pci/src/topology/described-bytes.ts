import { addPcie } from "../config-space/capability-options.ts";
import { ConfigBuilder } from "../config-space/config-builder.ts";
import { PCIE_TYPE } from "../config-space/standard-layouts.ts";
import type { DescribedFunction, MachineDescription } from "../import/machine-description.ts";
import type { MachineFunction } from "./machine-function.ts";
import { hexDigits, setExtended } from "./described-extended.ts";
import { pathBuses } from "./described-path.ts";

/** The words of `lspci` for the Device/Port Type, lower case without punctuation. */
const TYPES: readonly (readonly [string, number])[] = [
  ["endpoint", PCIE_TYPE.endpoint],
  ["legacy endpoint", PCIE_TYPE.legacyEndpoint],
  ["root port", PCIE_TYPE.rootPort],
  ["upstream port", PCIE_TYPE.upstreamPort],
  ["downstream port", PCIE_TYPE.downstreamPort],
  ["pci express to pci pci x bridge", PCIE_TYPE.pcieToPciBridge],
  ["pci pci x to pci express bridge", PCIE_TYPE.pciToPcieBridge],
  ["root complex integrated endpoint", PCIE_TYPE.integratedEndpoint],
  ["root complex event collector", PCIE_TYPE.eventCollector],
];
const BRIDGE = 0x0604;
const CARDBUS = 0x0607;
const UNKNOWN_VENDOR = 0xfffe;

/**
 * Config space of every function of a machine that decoded text describes: what the text tells, at the places where such
 * functions have it, and nothing else. What it does not tell is listed with the function.
 */
export function describedFunctions(description: MachineDescription): readonly MachineFunction[] {
  const buses = pathBuses(description.devices);
  return description.devices.map((one) => {
    const { bytes, unknown } = describedBytes(one, buses.get(one.bdf));
    return { bdf: one.bdf, bytes, unknown };
  });
}

interface Buses {
  readonly secondary: number;
  readonly subordinate: number;
}

function describedBytes(
  one: DescribedFunction,
  fromPath: Buses | undefined,
): { readonly bytes: Uint8Array; readonly unknown: readonly string[] } {
  const to = new ConfigBuilder();
  const unknown: string[] = [];
  setIdentity(to, one, unknown);
  setHeader(to, one, fromPath, unknown);
  setPcie(to, one, unknown);
  setExtended(to, one);
  return { bytes: to.bytes(), unknown };
}

function setHeader(to: ConfigBuilder, one: DescribedFunction, fromPath: Buses | undefined, unknown: string[]): void {
  const headerType = one.headerType ?? headerTypeOf(one);
  if (one.multiFunction === undefined) {
    unknown.push("multi-function bit");
  }
  to.set8(0x0e, headerType | ((one.multiFunction ?? one.severalFunctionsSeen) === true ? 0x80 : 0));
  if (headerType !== 0) {
    setBuses(to, one, fromPath, unknown);
  } else if (one.subsystem !== undefined) {
    to.set16(0x2c, hexDigits(one.subsystem.vendor) ?? 0);
    to.set16(0x2e, hexDigits(one.subsystem.device) ?? 0);
  }
}

function headerTypeOf(one: DescribedFunction): number {
  const classCode = hexDigits(one.class) ?? 0;
  if (classCode === CARDBUS) {
    return 2;
  }
  return one.bridge !== undefined || classCode === BRIDGE ? 1 : 0;
}

function setBuses(
  to: ConfigBuilder,
  { bdf, bridge }: DescribedFunction,
  fromPath: Buses | undefined,
  unknown: string[],
): void {
  to.set8(0x18, hexDigits(bridge?.primary) ?? Number.parseInt(bdf.slice(-7, -5), 16));
  to.set8(0x19, hexDigits(bridge?.secondary) ?? fromPath?.secondary ?? 0);
  to.set8(0x1a, hexDigits(bridge?.subordinate) ?? fromPath?.subordinate ?? 0);
  if (bridge === undefined && fromPath === undefined) {
    unknown.push("bus numbers");
  }
}

function setIdentity(to: ConfigBuilder, one: DescribedFunction, unknown: string[]): void {
  const vendor = hexDigits(one.vendor);
  const device = hexDigits(one.device ?? one.deviceCandidates?.[0]);
  if (vendor === undefined) {
    unknown.push("vendor");
  }
  if (one.device === undefined) {
    unknown.push("device");
  }
  to.set16(0x00, vendor ?? UNKNOWN_VENDOR);
  to.set16(0x02, device ?? 0);
  // Memory Space and Bus Master, as a machine that runs has them.
  to.set16(0x04, 0x0006);
  to.set8(0x08, hexDigits(one.revision) ?? 0);
  to.set8(0x09, hexDigits(one.progIf) ?? 0);
  to.set16(0x0a, hexDigits(one.class) ?? 0);
}

function setPcie(to: ConfigBuilder, one: DescribedFunction, unknown: string[]): void {
  const { pcie } = one;
  if (pcie === undefined) {
    return;
  }
  const words = (pcie.type ?? "")
    .toLowerCase()
    .replaceAll(/[^a-z]+/g, " ")
    .trim();
  const type = TYPES.find(([name]) => name === words)?.[1];
  if (type === undefined) {
    unknown.push("PCI Express type");
  }
  addPcie(to, {
    type: type ?? PCIE_TYPE.endpoint,
    flr: pcie.flr ?? false,
    endEndTlpPrefix: pcie.eetlpPrefix ?? one.devCap2?.eetlpPrefix ?? false,
    ariForwarding: pcie.ariFwd ?? one.devCap2?.ariFwd ?? false,
    slot: pcie.slot ?? false,
    hotplug: false,
  });
}
