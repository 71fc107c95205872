import { type Words, newWords, setField } from "@iommu-lab/core";

/** Size of a page request record in bytes. */
export const PAGE_REQUEST_BYTES = 16;

/** Page request record. Source: SMMUv3 §8.1. */
export const PAGE_REQUEST = {
  sid: [0, 31, 0],
  ssid: [0, 51, 32],
  priv: [0, 58, 58],
  exec: [0, 59, 59],
  read: [0, 60, 60],
  write: [0, 61, 61],
  last: [0, 62, 62],
  ssv: [0, 63, 63],
  prgIndex: [1, 8, 0],
  page: [1, 63, 12],
} as const;

/** What a page request says. */
export interface PageRequestFields {
  /** StreamID. */
  readonly sid: number;
  /** SubstreamID; undefined = SSV 0. */
  readonly ssid?: number;
  /** Read access is wanted. */
  readonly read: boolean;
  /** Write access is wanted. */
  readonly write: boolean;
  /** The last of its group. */
  readonly last: boolean;
  /** 0 … 511. */
  readonly prgIndex: number;
  /** Address / 4096. */
  readonly page: number;
  /** Privileged Mode Requested; default no. */
  readonly privileged?: boolean;
  /** Execute Requested; default no. */
  readonly execute?: boolean;
}

/** Builds a record. */
export function encodePageRequest(fields: PageRequestFields): Words {
  const words = newWords(2);
  setField(words, PAGE_REQUEST.sid, fields.sid);
  if (fields.ssid !== undefined) {
    setField(words, PAGE_REQUEST.ssv, 1);
    setField(words, PAGE_REQUEST.ssid, fields.ssid);
  }
  setField(words, PAGE_REQUEST.priv, fields.privileged === true ? 1 : 0);
  setField(words, PAGE_REQUEST.exec, fields.execute === true ? 1 : 0);
  setField(words, PAGE_REQUEST.read, fields.read ? 1 : 0);
  setField(words, PAGE_REQUEST.write, fields.write ? 1 : 0);
  setField(words, PAGE_REQUEST.last, fields.last ? 1 : 0);
  setField(words, PAGE_REQUEST.prgIndex, fields.prgIndex);
  setField(words, PAGE_REQUEST.page, fields.page);
  return words;
}
