import { type Words, encodeFields, getField, hex } from "@iommu-lab/core";

/** Size of a level-1 descriptor, of stream tables and context descriptor tables alike, in bytes. */
export const L1_DESCRIPTOR_BYTES = 8;

/** Level-1 stream table descriptor. Source: SMMUv3 §5.1. */
const L1STD = { span: [0, 4, 0], l2Ptr: [0, 55, 6, true] } as const;

/** Largest Span; larger values are reserved and behave as 0. */
export const L1STD_SPAN_MAX = 11;

/** Builds a level-1 stream table descriptor. @param span 0 invalid, n = array of 2^(n-1) entries */
export function encodeL1std(span: number, l2Ptr: number): Words {
  return encodeFields(L1STD, 1, { span, l2Ptr });
}

/** The descriptor in a reader's words. */
export function describeL1std(words: ArrayLike<number>): string {
  const span = getField(words, L1STD.span);
  return span === 0 ? "Span=0" : `Span=${span} L2Ptr=${hex(getField(words, L1STD.l2Ptr))}`;
}

/** Level-1 context descriptor. Source: SMMUv3 §5.3. */
const L1CD = { v: [0, 0, 0], l2Ptr: [0, 55, 12, true] } as const;

/** Builds a valid level-1 context descriptor. */
export function encodeL1cd(l2Ptr: number): Words {
  return encodeFields(L1CD, 1, { v: 1, l2Ptr });
}

/** The descriptor in a reader's words. */
export function describeL1cd(words: ArrayLike<number>): string {
  return getField(words, L1CD.v) === 0 ? "V=0" : `V=1 L2Ptr=${hex(getField(words, L1CD.l2Ptr))}`;
}
