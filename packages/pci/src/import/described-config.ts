import { capabilityLayout } from "../config-space/capability-layouts.ts";
import { capabilityId } from "../config-space/capability-names.ts";
import { ConfigBuilder } from "../config-space/config-builder.ts";
import type { DecodedFields } from "../config-space/decode-capability.ts";
import { encodeLayout } from "../config-space/encode-capability.ts";
import { headerLayout } from "../config-space/header-layout.ts";
import { CAP_ID_EXP } from "../config-space/standard-layouts.ts";
import type { DescribedCapability, DescribedFunction } from "./machine-description.ts";
import { summaryFields } from "./summary-fields.ts";

/** Config space made from a description, and what the description did not tell. */
export interface DescribedConfig {
  /** 4096 bytes for a PCI Express function, otherwise 256. */
  readonly bytes: Uint8Array;
  /** What is missing or could not be placed, in words. */
  readonly warnings: readonly string[];
}

/**
 * Config space of a function that decoded text describes: every capability where the text says it is, with the fields that it
 * tells; what it does not tell is 0. From these bytes a live function can be made.
 */
export function describedConfig(device: DescribedFunction): DescribedConfig {
  const warnings: string[] = [];
  const to = new ConfigBuilder();
  setHeader(to, device, warnings);
  const placed = device.capabilities
    .map((capability) => placedCapability(capability, warnings))
    .filter((one) => one !== undefined);
  link(to, placed);
  for (const { id, at, isExtended, capability } of placed) {
    const fields = { ...summaryFields(device, id, isExtended), ...capability.fields };
    // A DVSEC or VSEC has its length and ids in its own header: it is written first and decides about the layout.
    const own = Object.fromEntries(Object.entries(fields).filter(([key]) => key.startsWith("header")));
    writeFields(to, { id, at, isExtended }, own, []);
    writeFields(to, { id, at, isExtended }, fields, warnings);
  }
  const isExpress = placed.some(({ id, isExtended }) => isExtended || id === CAP_ID_EXP);
  return { bytes: to.bytes().slice(0, isExpress ? 4096 : 256), warnings };
}

interface Placed {
  readonly id: number;
  readonly at: number;
  readonly isExtended: boolean;
  readonly capability: DescribedCapability;
}

function placedCapability(capability: DescribedCapability, warnings: string[]): Placed | undefined {
  const { offset, name } = capability;
  const at = /^[\da-f]{2,3}$/i.test(offset) ? Number.parseInt(offset, 16) : -1;
  const isExtended = at >= 0x100;
  const id = capabilityId(name, isExtended);
  if (at < 0x40 || at % 4 !== 0 || id === undefined) {
    warnings.push(`capability ${JSON.stringify(name.slice(0, 40))} at ${offset} is left out: unknown name or place`);
    return undefined;
  }
  return { id, at, isExtended, capability };
}

/** Writes the list headers: each capability points to the next one of its list. */
function link(to: ConfigBuilder, placed: readonly Placed[]): void {
  const standard = placed.filter(({ isExtended }) => !isExtended);
  const extended = placed.filter(({ isExtended }) => isExtended);
  if (standard.length > 0) {
    to.set16(0x06, to.read16(0x06) | 0x10);
    to.set8((to.read8(0x0e) & 0x7f) === 2 ? 0x14 : 0x34, standard[0]?.at ?? 0);
  }
  for (const [index, { at, id }] of standard.entries()) {
    to.set8(at, id);
    to.set8(at + 1, standard[index + 1]?.at ?? 0);
  }
  const [first] = extended;
  if (first !== undefined && first.at !== 0x100) {
    // The list always starts at 0x100; lspci does not show an empty capability there.
    to.set32(0x100, (first.at << 20) >>> 0);
  }
  for (const [index, { at, id, capability }] of extended.entries()) {
    const next = extended[index + 1]?.at ?? 0;
    to.set32(at, (id | (((capability.version ?? 1) & 0xf) << 16) | (next << 20)) >>> 0);
  }
}

function writeFields(
  to: ConfigBuilder,
  { id, at, isExtended }: Pick<Placed, "id" | "at" | "isExtended">,
  fields: DecodedFields,
  warnings: string[],
): void {
  const layout = capabilityLayout(to, { id, offset: at, extended: isExtended });
  if (layout === undefined) {
    return;
  }
  for (const { key, why } of encodeLayout(to, layout, at, fields, isExtended ? 0x1000 : 0x100)) {
    // The text prints bits that the function's kind does not have; as long as they are 0 there is nothing to say.
    if (fields[key] !== 0) {
      warnings.push(`capability at ${at.toString(16)}: ${key} ${why}`);
    }
  }
}

/** Header Type by class where the text does not say: bridges and CardBus bridges. */
const headerTypes: Readonly<Record<string, number>> = { "0604": 1, "0607": 2 };

function headerTypeOf(device: DescribedFunction): number {
  const byClass = headerTypes[device.class ?? ""];
  return device.headerType ?? byClass ?? (device.bridge === undefined ? 0 : 1);
}

function setHeader(to: ConfigBuilder, device: DescribedFunction, warnings: string[]): void {
  const { bridge, subsystem } = device;
  const type = headerTypeOf(device);
  const set = (offset: number, size: 1 | 2, what: string, digits: string | undefined): void => {
    if (digits !== undefined && /^[\da-f]{1,4}$/i.test(digits)) {
      to.set(offset, size, Number.parseInt(digits, 16));
    } else {
      warnings.push(`${what} is not known`);
    }
  };
  set(0x00, 2, "vendor", device.vendor);
  set(0x02, 2, "device", device.device ?? device.deviceCandidates?.[0]);
  // lspci leaves out what is 00.
  set(0x08, 1, "revision", device.revision ?? "00");
  set(0x09, 1, "programming interface", device.progIf ?? "00");
  set(0x0a, 2, "class", device.class);
  const isMultiFunction = device.multiFunction ?? device.severalFunctionsSeen ?? false;
  to.set8(0x0e, type | (isMultiFunction ? 0x80 : 0));
  if (type !== 0 && bridge !== undefined) {
    set(0x18, 1, "primary bus", bridge.primary);
    set(0x19, 1, "secondary bus", bridge.secondary);
    set(0x1a, 1, "subordinate bus", bridge.subordinate);
  }
  if (type === 0 && subsystem !== undefined) {
    set(0x2c, 2, "subsystem vendor", subsystem.vendor);
    set(0x2e, 2, "subsystem", subsystem.device);
  }
  const refused = encodeLayout(to, headerLayout(type), 0, device.header ?? {}, 0x40);
  if (type <= 1) {
    warnings.push(...refused.map(({ key, why }) => `header: ${key} ${why}`));
  }
}
