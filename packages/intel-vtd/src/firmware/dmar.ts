import type { AcpiHeader, AcpiReader } from "@iommu-lab/core";
import { readAcpiTable } from "@iommu-lab/core";

/** Structure types, by name. Source: VT-d 5.10 §8.2. */
export const DMAR_TYPE: {
  /** Remapping hardware unit. */
  readonly drhd: 0;
  /** Reserved memory region. */
  readonly rmrr: 1;
  /** Root ports that pass ATS. */
  readonly atsr: 2;
  /** NUMA node of a unit. */
  readonly rhsa: 3;
  /** Device of the ACPI namespace. */
  readonly andd: 4;
  /** Integrated devices with an ATC. */
  readonly satc: 5;
  /** Properties of integrated devices. */
  readonly sidp: 6;
} = { drhd: 0, rmrr: 1, atsr: 2, rhsa: 3, andd: 4, satc: 5, sidp: 6 };

/** Device scope types, by name. Source: VT-d 5.10 §8.3.1. */
export const SCOPE_TYPE: {
  /** A function. */
  readonly endpoint: 1;
  /** A bridge and what is below it. */
  readonly bridge: 2;
  /** An I/O APIC. */
  readonly ioapic: 3;
  /** An HPET that sends messages. */
  readonly hpet: 4;
  /** A device of the ACPI namespace. */
  readonly namespace: 5;
} = { endpoint: 1, bridge: 2, ioapic: 3, hpet: 4, namespace: 5 };

/** DRHD: the unit serves everything of its segment that no other names. */
export const INCLUDE_PCI_ALL = 1;
/** ATSR: every root port of the segment passes ATS requests. */
export const ALL_PORTS = 1;
/** SATC: its devices need their ATC. */
export const ATC_REQUIRED = 1;

/** Bytes of the table before the first structure. */
export const DMAR_HEADER_BYTES = 48;
/** Bytes of a device scope before its path. */
export const SCOPE_BYTES = 6;

/** One hop of a path. */
export interface PathHop {
  /** 0 … 255; a PCI device number is below 32. */
  readonly device: number;
  /** 0 … 255; a PCI function number is below 8. */
  readonly function: number;
}

/** A device, or what is below a bridge. Source: VT-d 5.10 §8.3.1. */
export interface DeviceScope {
  /** See {@link SCOPE_TYPE}. */
  readonly type: number;
  /** Properties in an SIDP, else 0. */
  readonly flags: number;
  /** Bits that mean nothing, kept as they are. */
  readonly reserved: number;
  /** I/O APIC ID, HPET number, or ACPI device number of an ANDD. */
  readonly enumerationId: number;
  /** Bus of the first hop. */
  readonly startBus: number;
  /** From the start bus down, each hop but the last through a bridge. */
  readonly path: readonly PathHop[];
}

/** What every structure has. */
export interface DmarStructureBase {
  /** Where it begins, in bytes from the start of the table. */
  readonly offset: number;
  /** Its length in bytes. */
  readonly length: number;
}

/** A remapping unit. Source: VT-d 5.10 §8.4. */
export interface Drhd extends DmarStructureBase {
  /** Which structure it is. */
  readonly kind: "drhd";
  /** Bit 0: {@link INCLUDE_PCI_ALL}. */
  readonly flags: number;
  /** The register set has 2^N pages. */
  readonly size: number;
  /** PCI segment. */
  readonly segment: number;
  /** Physical address of the registers. */
  readonly base: number;
  /** The devices it is about. */
  readonly scopes: readonly DeviceScope[];
}

/** Memory that devices must reach 1:1. Source: VT-d 5.10 §8.5. */
export interface Rmrr extends DmarStructureBase {
  /** Which structure it is. */
  readonly kind: "rmrr";
  /** Bits that mean nothing, kept as they are. */
  readonly reserved: number;
  /** PCI segment. */
  readonly segment: number;
  /** First byte. */
  readonly base: number;
  /** Last byte. */
  readonly limit: number;
  /** The devices it is about. */
  readonly scopes: readonly DeviceScope[];
}

/** Root ports that pass ATS, integrated devices with an ATC, or device properties. Source: VT-d 5.10 §8.6, §8.9, §8.10. */
export interface ScopeList extends DmarStructureBase {
  /** Which structure it is. */
  readonly kind: "atsr" | "satc" | "sidp";
  /** ATSR bit 0: {@link ALL_PORTS}; SATC bit 0: {@link ATC_REQUIRED}. */
  readonly flags: number;
  /** Bits that mean nothing, kept as they are. */
  readonly reserved: number;
  /** PCI segment. */
  readonly segment: number;
  /** The devices it is about. */
  readonly scopes: readonly DeviceScope[];
}

/** The NUMA node of a unit. Source: VT-d 5.10 §8.7. */
export interface Rhsa extends DmarStructureBase {
  /** Which structure it is. */
  readonly kind: "rhsa";
  /** Bits that mean nothing, kept as they are. */
  readonly reserved: number;
  /** Registers of the unit. */
  readonly base: number;
  /** NUMA node. */
  readonly proximityDomain: number;
}

/** A device of the ACPI namespace. Source: VT-d 5.10 §8.8. */
export interface Andd extends DmarStructureBase {
  /** Which structure it is. */
  readonly kind: "andd";
  /** Bits that mean nothing, kept as they are. */
  readonly reserved: number;
  /** What device scopes of type 5 name it by. */
  readonly deviceNumber: number;
  /** Its path in the ACPI namespace. */
  readonly deviceName: string;
}

/** A structure of a type that is not known: skipped by its length. */
export interface UnknownStructure extends DmarStructureBase {
  /** Which structure it is. */
  readonly kind: "unknown";
  /** The type as it is coded. */
  readonly type: number;
}

/** A remapping structure. */
export type DmarStructure = Drhd | Rmrr | ScopeList | Rhsa | Andd | UnknownStructure;

/** A DMA remapping table. */
export interface DmarTable {
  /** The common header. */
  readonly header: AcpiHeader;
  /** Host address width in bits (the byte in the table is one less). */
  readonly hostAddressWidth: number;
  /** Bit 0 INTR_REMAP, 1 X2APIC_OPT_OUT, 2 DMA_CTRL_PLATFORM_OPT_IN. */
  readonly flags: number;
  /** All structures, in their order. */
  readonly structures: readonly DmarStructure[];
  /** What was odd, but not fatal. */
  readonly warnings: readonly string[];
}

/**
 * Reads a DMAR.
 *
 * Source: VT-d 5.10 §8; Linux 7.2 `dmar_walk_remapping_entries()`.
 *
 * @param bytes the table from its signature on
 * @param file named in errors
 * @throws InputError with the offset for a table, structure or device scope that is cut short or has an impossible length
 */
export function decodeDmar(bytes: Uint8Array, file?: string): DmarTable {
  const { header, reader } = readAcpiTable(bytes, "DMAR", file);
  const hostAddressWidth = reader.u8(36) + 1;
  const flags = reader.u8(37);
  reader.slice(38, 10);
  const structures: DmarStructure[] = [];
  const warnings: string[] = header.checksumValid ? [] : ["the checksum is wrong"];
  for (let at = DMAR_HEADER_BYTES; at < reader.length;) {
    const type = reader.u16(at);
    const length = reader.u16(at + 2);
    if (length < 4 || at + length > reader.length) {
      throw reader.error(
        at + 2,
        `structure of type ${type} has length ${length}, expected 4 to the ${reader.length - at} bytes that are left`,
      );
    }
    const structure = readStructure(reader, at, type, length);
    if (structure.kind === "unknown") {
      warnings.push(`structure of unknown type ${type} at 0x${at.toString(16)} is skipped`);
    }
    structures.push(structure);
    at += length;
  }
  return { header, hostAddressWidth, flags, structures, warnings };
}

function readStructure(reader: AcpiReader, offset: number, type: number, length: number): DmarStructure {
  const fields = new AcpiFields(reader, offset, length);
  const base = { offset, length };
  switch (type) {
    case DMAR_TYPE.drhd:
      return {
        kind: "drhd",
        ...base,
        flags: fields.u8(4),
        size: fields.u8(5),
        segment: fields.u16(6),
        base: fields.address(8),
        scopes: fields.scopes(16),
      };
    case DMAR_TYPE.rmrr:
      return {
        kind: "rmrr",
        ...base,
        reserved: fields.u16(4),
        segment: fields.u16(6),
        base: fields.address(8),
        limit: fields.address(16),
        scopes: fields.scopes(24),
      };
    case DMAR_TYPE.atsr:
    case DMAR_TYPE.satc:
      return {
        kind: type === DMAR_TYPE.atsr ? "atsr" : "satc",
        ...base,
        flags: fields.u8(4),
        reserved: fields.u8(5),
        segment: fields.u16(6),
        scopes: fields.scopes(8),
      };
    case DMAR_TYPE.sidp:
      return {
        kind: "sidp",
        ...base,
        flags: 0,
        reserved: fields.u16(4),
        segment: fields.u16(6),
        scopes: fields.scopes(8),
      };
    case DMAR_TYPE.rhsa:
      return {
        kind: "rhsa",
        ...base,
        reserved: fields.u32(4),
        base: fields.address(8),
        proximityDomain: fields.u32(16),
      };
    case DMAR_TYPE.andd:
      return {
        kind: "andd",
        ...base,
        reserved: fields.u8(4) | (fields.u16(5) << 8),
        deviceNumber: fields.u8(7),
        deviceName: fields.text(8),
      };
    default:
      return { kind: "unknown", ...base, type };
  }
}

/** Reads fields of one structure; what lies beyond its end is an error, whatever the table has there. */
class AcpiFields {
  readonly #reader: AcpiReader;
  readonly #offset: number;
  readonly #length: number;

  constructor(reader: AcpiReader, offset: number, length: number) {
    this.#reader = reader;
    this.#offset = offset;
    this.#length = length;
  }

  u8(at: number): number {
    return this.#reader.u8(this.#within(at, 1));
  }

  u16(at: number): number {
    return this.#reader.u16(this.#within(at, 2));
  }

  u32(at: number): number {
    return this.#reader.u32(this.#within(at, 4));
  }

  address(at: number): number {
    return this.#reader.address(this.#within(at, 8));
  }

  /** Text up to the end of the structure. */
  text(at: number): string {
    return this.#reader.text(this.#within(at, 1), this.#length - at);
  }

  /** Device scopes up to the end of the structure. */
  scopes(from: number): readonly DeviceScope[] {
    const scopes: DeviceScope[] = [];
    for (let at = from; at < this.#length;) {
      const length = this.u8(at + 1);
      if (length < SCOPE_BYTES || length % 2 !== 0 || at + length > this.#length) {
        throw this.#reader.error(
          this.#offset + at + 1,
          `device scope has length ${length}, expected an even number of ${SCOPE_BYTES} to ${this.#length - at}`,
        );
      }
      const path: PathHop[] = [];
      for (let hop = at + SCOPE_BYTES; hop < at + length; hop += 2) {
        path.push({ device: this.u8(hop), function: this.u8(hop + 1) });
      }
      scopes.push({
        type: this.u8(at),
        flags: this.u8(at + 2),
        reserved: this.u8(at + 3),
        enumerationId: this.u8(at + 4),
        startBus: this.u8(at + 5),
        path,
      });
      at += length;
    }
    return scopes;
  }

  #within(at: number, count: number): number {
    if (at + count > this.#length) {
      throw this.#reader.error(
        this.#offset + at,
        `${count} bytes wanted, the structure ends at 0x${(this.#offset + this.#length).toString(16)}`,
      );
    }
    return this.#offset + at;
  }
}
