/** Requester ID: bus 15:8, device 7:3, function 2:0 (with ARI function 7:0). */
export type Rid = number;

/** The request carries no PASID. */
export const NO_PASID = -1;

/** AT field of a Memory Request, bits 1:0 of the flags. Source: PCIe 6.0 §10.2.1. */
export const AT_MASK = 3;
/** Untranslated (AT=00). */
export const AT_UNTRANSLATED = 0;
/** Translation Request (AT=01); always a read on the wire. */
export const AT_TRANSLATION_REQUEST = 1;
/** Translated (AT=10). */
export const AT_TRANSLATED = 2;
/** A Memory Write. */
export const REQUEST_WRITE: number = 1 << 2;
/** NW of a Translation Request: write permission is not asked for. */
export const REQUEST_NO_WRITE: number = 1 << 3;
/** Execute Requested (with PASID). */
export const REQUEST_EXECUTE: number = 1 << 4;
/** Privileged Mode Requested (with PASID). */
export const REQUEST_PRIVILEGED: number = 1 << 5;
/** T bit of the IDE prefix: a request of a trusted device interface. */
export const REQUEST_T: number = 1 << 6;
/** XT bit (TDISP-XT). */
export const REQUEST_XT: number = 1 << 7;
/** Source-CXL of a Translation Request: the translation is meant for CXL.cache. */
export const REQUEST_SOURCE_CXL: number = 1 << 8;

/** `bb:dd.f` of a requester ID. */
export function formatRid(rid: Rid): string {
  const bus = (rid >>> 8).toString(16).padStart(2, "0");
  const device = ((rid >>> 3) & 0x1f).toString(16).padStart(2, "0");
  return `${bus}:${device}.${(rid & 7).toString(16)}`;
}
