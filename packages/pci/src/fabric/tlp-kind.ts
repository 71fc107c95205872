import {
  AT_MASK,
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  REQUEST_SOURCE_CXL,
  REQUEST_T,
  REQUEST_WRITE,
  REQUEST_XT,
} from "./request.ts";

/** A memory request's class as the trace names it. */
function baseKind(flags: number): string {
  switch (flags & AT_MASK) {
    case AT_TRANSLATION_REQUEST:
      if ((flags & REQUEST_WRITE) !== 0) {
        return "translation-request+write";
      }
      return (flags & REQUEST_SOURCE_CXL) === 0 ? "translation-request" : "translation-request+source-cxl";
    case AT_TRANSLATED:
      return (flags & REQUEST_WRITE) === 0 ? "translated-read" : "translated-write";
    case AT_MASK:
      return (flags & REQUEST_WRITE) === 0 ? "reserved-read" : "reserved-write";
    default:
      return (flags & REQUEST_WRITE) === 0 ? "untranslated-read" : "untranslated-write";
  }
}

/**
 * The `kind` of a memory request in a `tlp` event: `untranslated-read`, `untranslated-write`, `translation-request`,
 * `translated-read`, `translated-write`; for requests that no function may send `reserved-read`, `reserved-write` (AT=11)
 * and `translation-request+write`; then `+source-cxl`, `+t`, `+xt` for the bits of those names.
 */
export function tlpKind(flags: number): string {
  const kind = baseKind(flags);
  if ((flags & (REQUEST_T | REQUEST_XT)) === 0) {
    return kind;
  }
  return `${kind}${(flags & REQUEST_T) === 0 ? "" : "+t"}${(flags & REQUEST_XT) === 0 ? "" : "+xt"}`;
}
