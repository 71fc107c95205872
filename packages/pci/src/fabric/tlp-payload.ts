import type { Word64 } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";

/**
 * Payloads of ATS and PRI messages as 64-bit words, most significant byte first on the wire. A range is coded as in PCIe
 * 6.0 §10.2.3.2: S (bit 11) says that it is larger than 4 KiB, and the number of ones from bit 12 up says by how much.
 */

const S = 1 << 11;

/** A range of pages: `page` is a multiple of its size. */
export interface PageRange {
  /** First page number. */
  readonly page: number;
  /** 12 … 64. */
  readonly sizeLog2: number;
}

/** One entry of a Translation Completion. */
export interface TranslationEntry extends PageRange {
  /** Reads are permitted. */
  readonly read: boolean;
  /** Writes are permitted. */
  readonly write: boolean;
  /** Execution is permitted. */
  readonly execute: boolean;
  /** It holds for Privileged Mode. */
  readonly privileged: boolean;
  /** Valid for all PASIDs. */
  readonly global: boolean;
  /** U. */
  readonly untranslatedOnly: boolean;
  /** N. */
  readonly noSnoop: boolean;
  /** CXL.io. */
  readonly cxlIo: boolean;
}

/** What an Invalidate Request asks for. */
export interface InvalidatePayload extends PageRange {
  /** Global Invalidate. */
  readonly global: boolean;
}

/** What a Page Request asks for. */
export interface PageRequestPayload {
  /** Page number. */
  readonly page: number;
  /** PRG Index, 0 … 511. */
  readonly groupIndex: number;
  /** L: the last request of its group. */
  readonly last: boolean;
  /** W: it wants to write. */
  readonly write: boolean;
  /** R: it wants to read. */
  readonly read: boolean;
}

/** What a PRG Response says. */
export interface PageResponsePayload {
  /** PRG Index, 0 … 511. */
  readonly groupIndex: number;
  /** 0 Success, 1 Invalid Request, 15 Response Failure; other codes count as failure. */
  readonly code: number;
}

/** A PASID prefix. */
export interface PasidPrefix {
  /** 0 … 2^20-1. */
  readonly pasid: number;
  /** Execute Requested. */
  readonly execute: boolean;
  /** Privileged Mode Requested. */
  readonly privileged: boolean;
}

function rangeWord(range: PageRange, low: number): Word64 {
  const { page, sizeLog2 } = range;
  if (sizeLog2 < 12 || sizeLog2 > 64 || page % 2 ** (sizeLog2 - 12) !== 0) {
    throw new InputError(`page 0x${page.toString(16)} is no start of a range of 2^${sizeLog2} bytes`);
  }
  const coded = sizeLog2 === 12 ? page : page + 2 ** (sizeLog2 - 13) - 1;
  return pageWord(coded, low | (sizeLog2 === 12 ? 0 : S));
}

function pageWord(page: number, low: number): Word64 {
  return { lo: (((page % 2 ** 20) * 2 ** 12) | low) >>> 0, hi: Math.floor(page / 2 ** 20) };
}

function pageOf(lo: number, hi: number): number {
  return hi * 2 ** 20 + (lo >>> 12);
}

function rangeOf(lo: number, hi: number): PageRange {
  const coded = pageOf(lo, hi);
  if ((lo & S) === 0) {
    return { page: coded, sizeLog2: 12 };
  }
  let ones = 0;
  while (Math.floor(coded / 2 ** ones) % 2 === 1) {
    ones += 1;
  }
  if (ones > 51) {
    throw new InputError("the size code of the range has no end");
  }
  return { page: coded - (2 ** ones - 1), sizeLog2: 13 + ones };
}

function flag(on: boolean, bit: number): number {
  return on ? 1 << bit : 0;
}

/** Codes an entry of a Translation Completion. @throws InputError for an unaligned range */
export function encodeTranslation(entry: TranslationEntry): Word64 {
  const bits =
    flag(entry.noSnoop, 10) |
    flag(entry.cxlIo, 9) |
    flag(entry.global, 5) |
    flag(entry.privileged, 4) |
    flag(entry.execute, 3) |
    flag(entry.untranslatedOnly, 2) |
    flag(entry.write, 1) |
    flag(entry.read, 0);
  return rangeWord(entry, bits);
}

/** Reads an entry of a Translation Completion. @throws InputError for an endless size code */
export function decodeTranslation(lo: number, hi: number): TranslationEntry {
  return {
    ...rangeOf(lo, hi),
    read: (lo & 1) !== 0,
    write: (lo & 2) !== 0,
    untranslatedOnly: (lo & 4) !== 0,
    execute: (lo & 8) !== 0,
    privileged: (lo & 0x10) !== 0,
    global: (lo & 0x20) !== 0,
    cxlIo: (lo & 0x200) !== 0,
    noSnoop: (lo & 0x400) !== 0,
  };
}

/** Codes the payload of an Invalidate Request. @throws InputError for an unaligned range */
export function encodeInvalidate(request: InvalidatePayload): Word64 {
  return rangeWord(request, flag(request.global, 0));
}

/** Reads the payload of an Invalidate Request. @throws InputError for an endless size code */
export function decodeInvalidate(lo: number, hi: number): InvalidatePayload {
  return { ...rangeOf(lo, hi), global: (lo & 1) !== 0 };
}

/** Codes a Page Request (PCIe 6.0 §10.4.1). L alone, without R and W, is a stop marker. */
export function encodePageRequest(request: PageRequestPayload): Word64 {
  const { page, groupIndex, last, write, read } = request;
  return pageWord(page, (groupIndex << 3) | flag(last, 2) | flag(write, 1) | flag(read, 0));
}

/** Reads a Page Request. */
export function decodePageRequest(lo: number, hi: number): PageRequestPayload {
  return {
    page: pageOf(lo, hi),
    groupIndex: (lo >>> 3) & 0x1ff,
    last: (lo & 4) !== 0,
    write: (lo & 2) !== 0,
    read: (lo & 1) !== 0,
  };
}

/** Codes the 16 bits of a PRG Response (PCIe 6.0 §10.4.2). */
export function encodePageResponse(response: PageResponsePayload): number {
  return (response.code << 12) | response.groupIndex;
}

/** Reads the 16 bits of a PRG Response. */
export function decodePageResponse(word: number): PageResponsePayload {
  return { groupIndex: word & 0x1ff, code: (word >>> 12) & 0xf };
}

/** Codes the End-End TLP prefix of a request with a PASID (PCIe 6.0 §6.20). */
export function encodePasidPrefix(prefix: PasidPrefix): number {
  return (0x91000000 | flag(prefix.privileged, 21) | flag(prefix.execute, 20) | prefix.pasid) >>> 0;
}

/** Reads a PASID prefix; undefined when it is another prefix. */
export function decodePasidPrefix(word: number): PasidPrefix | undefined {
  if (word >>> 24 !== 0x91) {
    return undefined;
  }
  return { pasid: word & 0xfffff, execute: (word & 0x100000) !== 0, privileged: (word & 0x200000) !== 0 };
}

/** The 8 bytes of a payload word as they go over the wire: most significant first. */
export function wireBytes(word: Word64): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, word.hi);
  view.setUint32(4, word.lo);
  return bytes;
}
