import type { AcpiReader } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";

/** Types of device entries in an IVHD. Source: AMD IOMMU specification §5.2.2.2-§5.2.2.8. */
export const IVHD_ENTRY = {
  /** Nothing. */
  padding: 0x00,
  /** All devices. */
  all: 0x01,
  /** One device. */
  select: 0x02,
  /** Start of a range. */
  start: 0x03,
  /** End of a range. */
  end: 0x04,
  /** One device that uses another's ID. */
  aliasSelect: 0x42,
  /** Start of a range of devices that use another's ID. */
  aliasStart: 0x43,
  /** One device, with an extended setting. */
  extendedSelect: 0x46,
  /** Start of a range, with an extended setting. */
  extendedStart: 0x47,
  /** An I/O APIC or a timer. */
  special: 0x48,
  /** A device that ACPI names. */
  acpiHid: 0xf0,
} as const;

/** What every device entry has. */
export interface IvhdEntryBase {
  /** Type byte. */
  readonly type: number;
  /** Where it begins, in bytes from the start of the table. */
  readonly offset: number;
  /** Device ID. */
  readonly deviceId: number;
  /** Setting: 0 INITPass, 1 EIntPass, 2 NMIPass, 5:4 SysMgt, 6 Lint0Pass, 7 Lint1Pass. */
  readonly setting: number;
}

/** One device entry of an IVHD. */
export type IvhdEntry =
  | (IvhdEntryBase & {
      /** Four bytes: padding, all devices, one device, start or end of a range. */
      readonly kind: "short";
    })
  | (IvhdEntryBase & {
      /** A device, or the start of a range, whose requests carry another device's ID. */
      readonly kind: "alias";
      /** Byte 4, reserved. */
      readonly reserved: number;
      /** The device ID that requests carry. */
      readonly sourceId: number;
      /** Byte 7, reserved. */
      readonly reserved2: number;
    })
  | (IvhdEntryBase & {
      /** A device, or the start of a range, with an extended setting. */
      readonly kind: "extended";
      /** Extended setting: 31 ATSDisabled. */
      readonly extended: number;
    })
  | (IvhdEntryBase & {
      /** An I/O APIC or a timer. */
      readonly kind: "special";
      /** ID of the I/O APIC, number of the HPET. */
      readonly handle: number;
      /** The device ID that its requests carry. */
      readonly sourceId: number;
      /** 1 = I/O APIC, 2 = HPET. */
      readonly variety: number;
    })
  | (IvhdEntryBase & {
      /** A device that ACPI names. */
      readonly kind: "acpiHid";
      /** Hardware ID, at most 8 characters. */
      readonly hid: string;
      /** Compatible ID, at most 8 characters. */
      readonly cid: string;
      /** 0 none, 1 integer, 2 characters. */
      readonly uidFormat: number;
      /** Unique ID, as bytes. */
      readonly uid: Uint8Array;
    })
  | (IvhdEntryBase & {
      /** An entry of a type that is not known; its length is. */
      readonly kind: "unknown";
      /** Bytes behind the setting. */
      readonly data: Uint8Array;
    });

const HID_BYTES = 22;
const UID_LENGTH = 21;
const LAST_SHORT = 0x04;
/** Types above have no length rule, but for F0. */
const FIRST_WITHOUT_LENGTH = 0x80;

/**
 * Bytes of the entry at an offset. Source: AMD IOMMU specification §5.2.2.1; Linux 7.2 `ivhd_entry_length()`.
 *
 * @throws InputError with the offset for a type whose length is not known
 */
function entryLength(reader: AcpiReader, offset: number): number {
  const type = reader.u8(offset);
  if (type === IVHD_ENTRY.acpiHid) {
    return HID_BYTES + reader.u8(offset + UID_LENGTH);
  }
  if (type >= FIRST_WITHOUT_LENGTH) {
    throw reader.error(
      offset,
      `device entry type 0x${type.toString(16)}: its length is not known, expected below 0x80 or 0xf0`,
    );
  }
  return 4 << (type >>> 6);
}

/**
 * Reads the entry at an offset.
 *
 * @param end first byte behind the block
 * @returns the entry and its length in bytes
 * @throws InputError with the offset for an entry that goes beyond the block, or whose length is not known
 */
export function readIvhdEntry(reader: AcpiReader, offset: number, end: number): readonly [IvhdEntry, number] {
  const length = entryLength(reader, offset);
  if (offset + length > end) {
    throw reader.error(
      offset,
      `device entry of ${length} bytes goes beyond its block, which ends at 0x${end.toString(16)}`,
    );
  }
  const type = reader.u8(offset);
  const base = { type, offset, deviceId: reader.u16(offset + 1), setting: reader.u8(offset + 3) };
  return [withRest(reader, base), length];
}

function withRest(reader: AcpiReader, base: IvhdEntryBase): IvhdEntry {
  const { type, offset } = base;
  switch (type) {
    case IVHD_ENTRY.aliasSelect:
    case IVHD_ENTRY.aliasStart: {
      const [reserved, reserved2] = [reader.u8(offset + 4), reader.u8(offset + 7)];
      return { kind: "alias", ...base, reserved, sourceId: reader.u16(offset + 5), reserved2 };
    }
    case IVHD_ENTRY.extendedSelect:
    case IVHD_ENTRY.extendedStart:
      return { kind: "extended", ...base, extended: reader.u32(offset + 4) };
    case IVHD_ENTRY.special: {
      const handle = reader.u8(offset + 4);
      return { kind: "special", ...base, handle, sourceId: reader.u16(offset + 5), variety: reader.u8(offset + 7) };
    }
    case IVHD_ENTRY.acpiHid:
      return {
        kind: "acpiHid",
        ...base,
        hid: reader.text(offset + 4, 8),
        cid: reader.text(offset + 12, 8),
        uidFormat: reader.u8(offset + 20),
        uid: reader.slice(offset + HID_BYTES, reader.u8(offset + UID_LENGTH)),
      };
    default:
      return type <= LAST_SHORT
        ? { kind: "short", ...base }
        : { kind: "unknown", ...base, data: reader.slice(offset + 4, entryLength(reader, offset) - 4) };
  }
}

function text8(text: string): number[] {
  if (text.length > 8) {
    throw new InputError(`${JSON.stringify(text)} is longer than the 8 characters of a device entry`);
  }
  return Array.from({ length: 8 }, (_, index) => (index < text.length ? text.charCodeAt(index) & 0x7f : 0));
}

const half = (value: number): readonly number[] => [value & 0xff, (value >>> 8) & 0xff];

/** The bytes of an entry; `offset` does not count. @throws InputError for a text that is too long */
export function ivhdEntryBytes(entry: IvhdEntry): readonly number[] {
  const head = [entry.type, ...half(entry.deviceId), entry.setting];
  switch (entry.kind) {
    case "short":
      return head;
    case "alias":
      return [...head, entry.reserved, ...half(entry.sourceId), entry.reserved2];
    case "extended":
      return [...head, ...half(entry.extended), ...half(entry.extended >>> 16)];
    case "special":
      return [...head, entry.handle, ...half(entry.sourceId), entry.variety];
    case "acpiHid":
      return [...head, ...text8(entry.hid), ...text8(entry.cid), entry.uidFormat, entry.uid.length, ...entry.uid];
    default:
      return [...head, ...entry.data];
  }
}
