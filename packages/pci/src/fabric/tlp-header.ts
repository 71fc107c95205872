import {
  AT_MASK,
  AT_TRANSLATION_REQUEST,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
  type Rid,
} from "./request.ts";
import { encodePasidPrefix } from "./tlp-payload.ts";

const FOUR_DW = 0x2000_0000;
const WITH_DATA = 0x4000_0000;
const MESSAGE = 0x1000_0000;
/** Type 10rrr with routing by ID (r = 010) or to the root complex (r = 000). */
const BY_ID = 0x0200_0000;

/** Four 32-bit words of a TLP header as a Header Log shows them; the last is 0 in a header of three. */
export type TlpHeader = readonly [number, number, number, number];

/**
 * The header of a memory request of 4 bytes, or of a Translation Request for one unit, in non-flit mode: three words below
 * 4 GiB and four above; AT in bits 11:10 of the first; NW of a Translation Request in bit 0 of the last.
 *
 * Source: PCIe 6.0 §2.2.5.1, §10.2.2.
 *
 * @param offset byte offset in the page
 */
export function memoryRequestHeader(rid: Rid, page: number, offset: number, flags: number): TlpHeader {
  const type = flags & AT_MASK;
  const upper = Math.floor(page / 2 ** 20);
  const isTranslation = type === AT_TRANSLATION_REQUEST;
  const lower = ((page % 2 ** 20) * 4096 + offset + (isTranslation && (flags & REQUEST_NO_WRITE) !== 0 ? 1 : 0)) >>> 0;
  const format = (upper === 0 ? 0 : FOUR_DW) | ((flags & REQUEST_WRITE) === 0 ? 0 : WITH_DATA);
  const first = (format | (type << 10) | (isTranslation ? 2 : 1)) >>> 0;
  const second = ((rid << 16) | (isTranslation ? 0xff : 0x0f)) >>> 0;
  return upper === 0 ? [first, second, lower, 0] : [first, second, upper, lower];
}

/** The header of an Invalidate Completion. Source: PCIe 6.0 §10.3.2. @param count CC, 1 … 8; @param itags bit n = ITag n */
export function invalidateCompletionHeader(rid: Rid, target: Rid, itags: number, count: number): TlpHeader {
  return [
    (FOUR_DW | MESSAGE | BY_ID) >>> 0,
    ((rid << 16) | 0x02) >>> 0,
    ((target << 16) | (count & 7)) >>> 0,
    itags >>> 0,
  ];
}

/** What an Invalidate Completion says. */
export interface InvalidateCompletionFields {
  /** The function that completes. */
  readonly rid: Rid;
  /** The translation agent it goes to. */
  readonly target: Rid;
  /** Bit n = ITag n. */
  readonly itags: number;
  /** CC, 1 … 8. */
  readonly count: number;
}

/** Reads the header of an Invalidate Completion; undefined when it is another TLP. */
export function decodeInvalidateCompletion(header: TlpHeader): InvalidateCompletionFields | undefined {
  const [first, second, third, fourth] = header;
  if (first >>> 24 !== (FOUR_DW | MESSAGE | BY_ID) >>> 24 || (second & 0xff) !== 0x02) {
    return undefined;
  }
  return { rid: second >>> 16, target: third >>> 16, itags: fourth, count: third & 7 || 8 };
}

/** The End-End prefix of a request, 0 when it has none. Source: PCIe 6.0 §6.20. */
export function requestPrefix(pasid: number, flags: number): number {
  if (pasid === NO_PASID) {
    return 0;
  }
  const execute = (flags & REQUEST_EXECUTE) !== 0;
  return encodePasidPrefix({ pasid, execute, privileged: (flags & REQUEST_PRIVILEGED) !== 0 });
}
