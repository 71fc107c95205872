import { getBits, hex } from "@iommu-lab/core";
import {
  EVENT,
  EVENT_I,
  EVENT_NX,
  EVENT_PE,
  EVENT_PR,
  EVENT_RW,
  EVENT_RZ,
  EVENT_TR,
  EVENT_US,
  decodeEvent,
} from "./event.ts";

const names: ReadonlyMap<number, string> = new Map(Object.entries(EVENT).map(([name, code]) => [code, name]));

const flagNames: readonly (readonly [number, string])[] = [
  [EVENT_NX, "NX"],
  [EVENT_US, "US"],
  [EVENT_I, "I"],
  [EVENT_PR, "PR"],
  [EVENT_RW, "RW"],
  [EVENT_PE, "PE"],
  [EVENT_RZ, "RZ"],
  [EVENT_TR, "TR"],
];

const typed: ReadonlySet<number> = new Set([
  EVENT.DEV_TAB_HARDWARE_ERROR,
  EVENT.PAGE_TAB_HARDWARE_ERROR,
  EVENT.COMMAND_HARDWARE_ERROR,
  EVENT.INVALID_DEVICE_REQUEST,
]);

/** The specification's name of an event code. */
export function eventName(code: number): string {
  return names.get(code) ?? `event ${code}`;
}

/** An event in words. */
export function describeEvent(words: ArrayLike<number>): string {
  const event = decodeEvent(words);
  const address = `address 0x${((BigInt(event.hi) << 32n) | BigInt(event.lo)).toString(16)}`;
  const name = eventName(event.code);
  if (event.code === EVENT.INVALID_PPR_REQUEST) {
    return `${name} device ${hex(event.deviceId)}, tag ${getBits(words, 41, 32)}, ${address}`;
  }
  if (event.code === EVENT.ILLEGAL_COMMAND_ERROR || event.code === EVENT.COMMAND_HARDWARE_ERROR) {
    return `${name} ${address}`;
  }
  const flags = flagNames.filter(([bit]) => ((event.flags ?? 0) & bit) !== 0).map(([, text]) => text);
  if (typed.has(event.code)) {
    flags.push(`type ${((event.flags ?? 0) >>> 25) & 7}`);
  }
  const whose = event.pasid === undefined ? `domain ${hex(event.domainId ?? 0)}` : `PASID ${event.pasid}`;
  return `${name} device ${hex(event.deviceId)}, ${whose}, ${address}${flags.length === 0 ? "" : `, ${flags.join(" ")}`}`;
}
