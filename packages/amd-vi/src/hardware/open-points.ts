/**
 * Where sources contradict each other or are silent. Each has a default; the others are for asking "what if".
 *
 * Source: no independent confirmation of any of them.
 */
export interface OpenPoints {
  /** What is reported for an Untranslated request while V=1 and TV=0. The abort itself is certain. */
  readonly blockedEvent: "IO_PAGE_FAULT" | "none";
  /** A Mode beyond the levels that HATS allows, 7 included. */
  readonly modeBeyondHats: "ILLEGAL_DEV_TABLE_ENTRY" | "IO_PAGE_FAULT" | "none";
  /** Requests with PASID while GV=0: refused, or translated as if they had none. */
  readonly pasidWithoutGuest: "abort" | "host";
  /** A Translated request while I=1 and TV=0. */
  readonly translatedWhileBlocked: "pass" | "abort";
  /** Mode 0 without the DTE's permission: refused with an event, refused without one, or let through. */
  readonly identityPermission: "IO_PAGE_FAULT" | "none" | "ignored";
  /**
   * INVALIDATE_IOTLB_PAGES with GN=1 and PASID 0 for a device whose DTE has GIoV, i.e. whose requests without PASID are
   * translated as those of PASID 0: the request to the device carries no PASID, or PASID 0.
   */
  readonly guestIoInvalidation: "without-pasid" | "with-pasid";
  /** DTE bits 6:4: CXL memory attributes (revision 3.11 of the specification), or reserved (before). */
  readonly cxlAttributes: "reserved" | "allowed";
  /** Translation Requests while IommuEn=0. */
  readonly disabledTranslationRequest: "UR" | "CA";
  /** Where the head of the command buffer is after ILLEGAL_COMMAND_ERROR: on the command, or behind it. */
  readonly headAfterError: "on-command" | "behind";
  /** A COMPLETION_WAIT behind an invalidation that ended with IOTLB_INV_TIMEOUT: it completes, or never does. */
  readonly waitAfterTimeout: "completes" | "never";
}

/** The defaults. */
export const defaultOpenPoints: OpenPoints = {
  blockedEvent: "IO_PAGE_FAULT",
  modeBeyondHats: "ILLEGAL_DEV_TABLE_ENTRY",
  pasidWithoutGuest: "abort",
  translatedWhileBlocked: "pass",
  identityPermission: "IO_PAGE_FAULT",
  guestIoInvalidation: "without-pasid",
  cxlAttributes: "reserved",
  disabledTranslationRequest: "UR",
  headAfterError: "on-command",
  waitAfterTimeout: "completes",
};
