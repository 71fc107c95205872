import type { Layout, LayoutCodec, WordFields, Words } from "@iommu-lab/core";
import { getBit, getBits, hex, newWords, setBits, wordCodec } from "@iommu-lab/core";
import { eventName } from "../layout/event-text.ts";
import { EVENT } from "../layout/event.ts";
import { addressText, numberOf, readFields, writeFields } from "./field-values.ts";

const GUEST_BIT = 48;
const ADDRESS = { addressLow: [1, 31, 0], addressHigh: [1, 63, 32] } as const;
const DEVICE = { deviceId: [0, 15, 0] } as const;
const REQUEST = {
  ...DEVICE,
  guest: [0, 48, 48],
  interrupt: [0, 51, 51],
  write: [0, 53, 53],
  translationRequest: [0, 56, 56],
} as const;
const TYPE = { type: [0, 58, 57] } as const;
/** Events that this project gives no closer reading of. */
const OPERANDS = { operandLow: [0, 31, 0], operandHigh: [0, 59, 32], ...ADDRESS } as const;

/** Fields by code; PASID and DomainID aside. */
const LAYOUTS: Readonly<Record<number, Layout<string>>> = {
  [EVENT.ILLEGAL_DEV_TABLE_ENTRY]: { ...REQUEST, reservedBit: [0, 55, 55], ...ADDRESS },
  [EVENT.IO_PAGE_FAULT]: {
    ...REQUEST,
    execute: [0, 49, 49],
    user: [0, 50, 50],
    present: [0, 52, 52],
    permission: [0, 54, 54],
    reservedBit: [0, 55, 55],
    ...ADDRESS,
  },
  [EVENT.DEV_TAB_HARDWARE_ERROR]: { ...REQUEST, ...TYPE, ...ADDRESS },
  [EVENT.PAGE_TAB_HARDWARE_ERROR]: { ...REQUEST, ...TYPE, ...ADDRESS },
  [EVENT.ILLEGAL_COMMAND_ERROR]: ADDRESS,
  [EVENT.COMMAND_HARDWARE_ERROR]: { ...TYPE, ...ADDRESS },
  [EVENT.IOTLB_INV_TIMEOUT]: { ...DEVICE, ...ADDRESS },
  [EVENT.INVALID_DEVICE_REQUEST]: {
    ...DEVICE,
    guest: [0, 48, 48],
    user: [0, 49, 49],
    translationRequest: [0, 56, 56],
    type: [0, 59, 57],
    ...ADDRESS,
  },
  [EVENT.INVALID_PPR_REQUEST]: { ...DEVICE, tag: [0, 41, 32], guest: [0, 56, 56], ...ADDRESS },
  [EVENT.RMP_PAGE_FAULT]: { ...DEVICE, flags: [0, 23, 16], guestTag: [0, 47, 32], ...ADDRESS },
};

/** Codes whose bits 47:32 are a PASID with GN, else a DomainID. */
const TAGGED: ReadonlySet<number> = new Set([
  EVENT.ILLEGAL_DEV_TABLE_ENTRY,
  EVENT.IO_PAGE_FAULT,
  EVENT.PAGE_TAB_HARDWARE_ERROR,
  EVENT.INVALID_DEVICE_REQUEST,
]);

const codes: ReadonlyMap<string, number> = new Map(Object.entries(EVENT));
const codeOf = (words: ArrayLike<number>): number => getBits(words, 63, 60);

function tagOf(words: Words): WordFields {
  const code = codeOf(words);
  if (code === EVENT.INVALID_PPR_REQUEST) {
    return { pasid: getBits(words, 45, 42) * 0x10000 + getBits(words, 31, 16) };
  }
  if (!TAGGED.has(code)) {
    return {};
  }
  const low = getBits(words, 47, 32);
  return getBit(words, GUEST_BIT) ? { pasid: getBits(words, 19, 16) * 0x10000 + low } : { domainId: low };
}

function decode(words: Words): WordFields {
  const code = codeOf(words);
  const known = [...codes.values()].includes(code);
  return { code: known ? eventName(code) : code, ...readFields(LAYOUTS[code] ?? OPERANDS, words), ...tagOf(words) };
}

function encode(fields: WordFields): Words {
  const words = newWords(2);
  const name = fields["code"];
  const code = typeof name === "string" ? (codes.get(name) ?? 0) : numberOf(fields, "code");
  const pasid = numberOf(fields, "pasid");
  writeFields(LAYOUTS[code] ?? OPERANDS, words, fields);
  setBits(words, 63, 60, code);
  if (code === EVENT.INVALID_PPR_REQUEST) {
    setBits(words, 31, 16, pasid);
    setBits(words, 45, 42, pasid >>> 16);
  } else if (TAGGED.has(code) && fields["guest"] === true) {
    setBits(words, 47, 32, pasid);
    setBits(words, 19, 16, pasid >>> 16);
  } else if (TAGGED.has(code)) {
    setBits(words, 47, 32, numberOf(fields, "domainId"));
  }
  return words;
}

const HARDWARE_TYPES: readonly string[] = ["type 0", "nothing answered", "a target abort", "bad data"];
/** Reasons of INVALID_DEVICE_REQUEST by type; those of Translation Requests behind the eighth. */
const INVALID_TYPES: readonly string[] = [
  "a read in the interrupt range",
  "a Translated request while I=0 or V=0",
  "port I/O while IoCtl=0",
  "a write that SysMgt or HtAtsResv forbids",
  "a read that SysMgt or HtAtsResv forbids",
  "an interrupt while IntCtl=0",
  "a write to the reserved part of the interrupt range",
  "SysMgt or IoCtl want a translation while TV=0",
  "a Translation Request while I=0, V=0 or TV=0",
  "a Translation Request into a range that is no memory",
];

function pageFault(words: Words): string {
  if (!getBit(words, 52)) {
    return "no translation is there: an entry is not present, or TV=0";
  }
  if (getBit(words, 55)) {
    return "an entry has a reserved bit";
  }
  if (getBit(words, 54)) {
    return getBit(words, 49) ? "instruction fetches are not permitted" : "the access is not permitted";
  }
  return "an entry has an impossible level or size";
}

function reason(words: Words): string {
  switch (codeOf(words)) {
    case EVENT.IO_PAGE_FAULT:
      return pageFault(words);
    case EVENT.ILLEGAL_DEV_TABLE_ENTRY:
      return "its device table entry has a reserved bit or value";
    case EVENT.DEV_TAB_HARDWARE_ERROR:
    case EVENT.PAGE_TAB_HARDWARE_ERROR:
    case EVENT.COMMAND_HARDWARE_ERROR:
      return `memory did not give what the unit wanted to read: ${HARDWARE_TYPES[getBits(words, 58, 57)] ?? ""}`;
    case EVENT.ILLEGAL_COMMAND_ERROR:
      return "the command is unknown or has a reserved bit; the command buffer has stopped";
    case EVENT.IOTLB_INV_TIMEOUT:
      return "the device did not complete the invalidation of this command in time";
    case EVENT.INVALID_DEVICE_REQUEST:
      return INVALID_TYPES[getBits(words, 59, 57) + (getBit(words, 56) ? 8 : 0)] ?? "a type that is not known";
    case EVENT.INVALID_PPR_REQUEST:
      return "the device may not ask for pages";
    default:
      return "see the specification";
  }
}

function meaning(words: Words): readonly string[] {
  const code = codeOf(words);
  const about = LAYOUTS[code]?.["deviceId"] === undefined ? "" : ` of device ${hex(getBits(words, 15, 0))}`;
  const direction = LAYOUTS[code]?.["write"] === undefined ? "" : getBit(words, 53) ? ", a write" : ", a read";
  const address = addressText(words[2] ?? 0, words[3] ?? 0);
  const name = code === 0 || code === 15 ? `Event ${code}` : eventName(code);
  return [`${name}${about} at ${address}${direction}: ${reason(words)}.`];
}

/** Events. */
export const eventCodec: LayoutCodec = wordCodec({
  kind: "amd-event",
  title: "AMD-Vi event log entry",
  source: "AMD IOMMU specification §2.5",
  words: [2],
  example: "003a00001200202000b0adde00000000",
  decode,
  encode,
  meaning,
});
