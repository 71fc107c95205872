/** Register offsets and Status bits as the specification numbers them (§3.4). */
export const DEVICE_TABLE_BASE = 0x0000;
export const COMMAND_BASE = 0x0008;
export const EVENT_BASE = 0x0010;
export const CONTROL = 0x0018;
export const EXCLUSION_BASE = 0x0020;
export const EXCLUSION_LIMIT = 0x0028;
export const EXTENDED_FEATURE = 0x0030;
export const PPR_BASE = 0x0038;
export const COMMAND_HEAD = 0x2000;
export const COMMAND_TAIL = 0x2008;
export const EVENT_HEAD = 0x2010;
export const EVENT_TAIL = 0x2018;
export const STATUS = 0x2020;
export const PPR_TAIL = 0x2038;

/** Bits of Control 31:0. */
export const CONTROL_BIT = {
  IommuEn: 0,
  EventLogEn: 2,
  EventIntEn: 3,
  ComWaitIntEn: 4,
  CmdBufEn: 12,
  PPRLogEn: 13,
  PPREn: 15,
  GTEn: 16,
} as const;

export const STATUS_EVENT_OVERFLOW = 0x1;
export const STATUS_EVENT_INT = 0x2;
export const STATUS_COM_WAIT_INT = 0x4;
export const STATUS_EVENT_RUN = 0x8;
export const STATUS_COMMAND_RUN = 0x10;
