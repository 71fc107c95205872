import type { TranslationCaches } from "./translation-caches.ts";
import {
  KEPT_COHERENT,
  KEPT_DIRTY,
  KEPT_EXECUTE,
  KEPT_HOST,
  KEPT_PRESENT,
  KEPT_READ,
  KEPT_UNTRANSLATED_ONLY,
  KEPT_WRITE,
} from "./translation-caches.ts";
import type { Walk } from "./walk.ts";

/** What is kept of a page that a walk found. @param host the host table took part */
export function keptFlags(found: Walk, host: boolean): number {
  return (
    KEPT_PRESENT |
    (found.read ? KEPT_READ : 0) |
    (found.write ? KEPT_WRITE : 0) |
    (found.execute ? KEPT_EXECUTE : 0) |
    (found.forceCoherent ? KEPT_COHERENT : 0) |
    (found.untranslatedOnly ? KEPT_UNTRANSLATED_ONLY : 0) |
    (found.dirty ? KEPT_DIRTY : 0) |
    (host ? KEPT_HOST : 0)
  );
}

/** Puts what is kept into `found`, as a walk would. @returns false when what is kept says that there is no page */
export function takeKept(caches: TranslationCaches, slot: number, page: number, found: Walk): boolean {
  const flags = caches.translations.flags(slot);
  found.line = caches.translations.line(slot);
  found.sizeLog2 = caches.translations.kind(slot);
  if ((flags & KEPT_PRESENT) === 0) {
    return found.fault(0);
  }
  found.end = "found";
  found.flags = 0;
  found.page = caches.target(slot, page);
  found.read = (flags & KEPT_READ) !== 0;
  found.write = (flags & KEPT_WRITE) !== 0;
  found.execute = (flags & KEPT_EXECUTE) !== 0;
  found.forceCoherent = (flags & KEPT_COHERENT) !== 0;
  found.untranslatedOnly = (flags & KEPT_UNTRANSLATED_ONLY) !== 0;
  found.dirty = (flags & KEPT_DIRTY) !== 0;
  return true;
}
