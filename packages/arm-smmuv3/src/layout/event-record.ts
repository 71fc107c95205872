import { type Words, getField, newWords, setField } from "@iommu-lab/core";

/** Size of an event record in bytes. */
export const EVENT_BYTES = 32;

/** Event numbers. Source: SMMUv3 §7.3. */
export const EVENT = {
  /** A transaction of a kind that is not supported. */
  F_UUT: 0x01,
  /** The StreamID has no entry. */
  C_BAD_STREAMID: 0x02,
  /** Reading the entry aborted. */
  F_STE_FETCH: 0x03,
  /** The entry is illegal or invalid. */
  C_BAD_STE: 0x04,
  /** A Translation Request that this stream may not send. */
  F_BAD_ATS_TREQ: 0x05,
  /** The stream, or its requests without substream, is turned off. */
  F_STREAM_DISABLED: 0x06,
  /** A Translated request that this stream may not send. */
  F_TRANSL_FORBIDDEN: 0x07,
  /** The SubstreamID has no descriptor. */
  C_BAD_SUBSTREAMID: 0x08,
  /** Reading the descriptor aborted. */
  F_CD_FETCH: 0x09,
  /** The descriptor is illegal or invalid. */
  C_BAD_CD: 0x0a,
  /** Reading a page table aborted. */
  F_WALK_EABT: 0x0b,
  /** No translation. */
  F_TRANSLATION: 0x10,
  /** An output address out of range. */
  F_ADDR_SIZE: 0x11,
  /** The access flag is clear. */
  F_ACCESS: 0x12,
  /** Not permitted. */
  F_PERMISSION: 0x13,
  /** Two translations match. */
  F_TLB_CONFLICT: 0x20,
  /** Two configurations match. */
  F_CFG_CONFLICT: 0x21,
  /** A hint that a page is wanted. */
  E_PAGE_REQUEST: 0x24,
  /** Reading the virtual machine structure aborted. */
  F_VMS_FETCH: 0x25,
} as const;

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(EVENT).map(([name, id]) => [id, name]));

/** The event's name; unknown ones by number. */
export function eventName(id: number): string {
  return NAMES.get(id) ?? `event 0x${id.toString(16)}`;
}

/** Fields of an event record. Not every event has every field. Source: SMMUv3 §7.3. */
export const EVENT_RECORD = {
  id: [0, 7, 0],
  ssv: [0, 11, 11],
  ssid: [0, 31, 12],
  sid: [0, 63, 32],
  stag: [1, 15, 0],
  stall: [1, 31, 31],
  pnu: [1, 33, 33],
  ind: [1, 34, 34],
  rnw: [1, 35, 35],
  nsIpa: [1, 36, 36],
  s2: [1, 39, 39],
  class: [1, 41, 40],
  ttRnw: [1, 44, 44],
  inputOffset: [2, 11, 0],
  inputPage: [2, 63, 12],
  ipa: [3, 55, 12, true],
  fetchAddress: [3, 55, 3, true],
} as const;

/** CLASS: what was being translated. */
export const EVENT_CLASS = {
  /** The address of a context descriptor. */
  cd: 0,
  /** The address of a page table. */
  tt: 1,
  /** The address of the transaction. */
  in: 2,
} as const;

/** What a record can hold. Fields left out are zero. */
export interface EventFields {
  /** One of {@link EVENT}. */
  readonly id: number;
  /** StreamID. */
  readonly sid: number;
  /** SubstreamID; undefined = SSV 0. */
  readonly ssid?: number;
  /** The access was privileged. */
  readonly privileged?: boolean;
  /** It was an instruction fetch. */
  readonly instruction?: boolean;
  /** It was a read. */
  readonly read?: boolean;
  /** Stage 2 made the fault. */
  readonly stage2?: boolean;
  /** One of {@link EVENT_CLASS}. */
  readonly class?: number;
  /** Input address / 4096. */
  readonly page?: number;
  /** Input address % 4096. */
  readonly offset?: number;
  /** What could not be fetched, in bytes. */
  readonly fetchAddress?: number;
  /** Intermediate address in bytes; bits 11:0 are not kept. */
  readonly ipa?: number;
  /** The transaction stalls; software resumes it by this tag. */
  readonly stallTag?: number;
  /** Of F_PERMISSION with CLASS = TT: the table was read, not updated. */
  readonly tableRead?: boolean;
}

/** C_BAD_SUBSTREAMID has a SubstreamID and no SSV bit. Source: SMMUv3 §7.3.9. */
const WITHOUT_SSV: ReadonlySet<number> = new Set([EVENT.C_BAD_SUBSTREAMID]);

/** Writes a record. @param into 8 u32 words; cleared first */
export function encodeEvent(fields: EventFields, into: Words = newWords(4)): Words {
  into.fill(0);
  setField(into, EVENT_RECORD.id, fields.id);
  setField(into, EVENT_RECORD.sid, fields.sid);
  if (fields.ssid !== undefined) {
    setField(into, EVENT_RECORD.ssv, WITHOUT_SSV.has(fields.id) ? 0 : 1);
    setField(into, EVENT_RECORD.ssid, fields.ssid);
  }
  setField(into, EVENT_RECORD.pnu, fields.privileged === true ? 1 : 0);
  setField(into, EVENT_RECORD.ind, fields.instruction === true ? 1 : 0);
  setField(into, EVENT_RECORD.rnw, fields.read === true ? 1 : 0);
  setField(into, EVENT_RECORD.s2, fields.stage2 === true ? 1 : 0);
  setField(into, EVENT_RECORD.class, fields.class ?? 0);
  setField(into, EVENT_RECORD.inputPage, fields.page ?? 0);
  setField(into, EVENT_RECORD.inputOffset, fields.offset ?? 0);
  setField(into, EVENT_RECORD.fetchAddress, fields.fetchAddress ?? 0);
  if (fields.ipa !== undefined) {
    setField(into, EVENT_RECORD.ipa, fields.ipa);
  }
  if (fields.stallTag !== undefined) {
    setField(into, EVENT_RECORD.stall, 1);
    setField(into, EVENT_RECORD.stag, fields.stallTag);
  }
  setField(into, EVENT_RECORD.ttRnw, fields.tableRead === true ? 1 : 0);
  return into;
}

/** The record in a reader's words. */
export function describeEvent(words: ArrayLike<number>): string {
  const id = getField(words, EVENT_RECORD.id);
  const parts = [eventName(id), `SID=0x${getField(words, EVENT_RECORD.sid).toString(16)}`];
  if (getField(words, EVENT_RECORD.ssv) === 1 || WITHOUT_SSV.has(id)) {
    parts.push(`SSID=${getField(words, EVENT_RECORD.ssid)}`);
  }
  if (id >= EVENT.F_TRANSLATION && id <= EVENT.F_PERMISSION) {
    parts.push(getField(words, EVENT_RECORD.rnw) === 1 ? "read" : "write");
    parts.push(getField(words, EVENT_RECORD.s2) === 1 ? "stage 2" : "stage 1");
    parts.push(`page 0x${getField(words, EVENT_RECORD.inputPage).toString(16)}`);
  }
  return parts.join(" ");
}
