import { capabilityLayout } from "./capability-layouts.ts";
import type { CapabilityEntry } from "./capability-list.ts";
import { EXT_CAP_ID_DVSEC, EXT_CAP_ID_SRIOV } from "./extended-layouts.ts";
import { baseAddressMask, baseAddressOffsets, headerLayout } from "./header-layout.ts";
import type { CapabilityLayout, FieldAccess, FieldLayout, RegisterReader } from "./register-layout.ts";

/** Writable bits of one base address register; offset in the function's config space. */
export interface BaseAddress {
  /** Byte offset of the 32-bit register. */
  readonly offset: number;
  /** The bits that software can change. */
  readonly mask: number;
}

/** Which reset: `conventional` is a hot reset (secondary bus reset, link down), `flr` a Function Level Reset. */
export type ConfigReset = "conventional" | "flr";

/**
 * The layouts of one function's registers, turned into one mask byte per config byte, so that a write or a reset of any
 * size needs no table search.
 */
export class RegisterMap {
  /** For each kind of access, the bits that have it. */
  readonly bits: Readonly<Record<Exclude<FieldAccess, "RO">, Uint8Array>>;
  /** Bytes from which this map was made: when one changes, the map is out of date. */
  readonly structure: Uint8Array;
  /** Bits that a conventional reset sets to {@link conventionalValue}. */
  readonly conventionalMask: Uint8Array;
  /** Values after a conventional reset. */
  readonly conventionalValue: Uint8Array;
  /** Bits that an FLR sets to {@link flrValue}. */
  readonly flrMask: Uint8Array;
  /** Values after an FLR. */
  readonly flrValue: Uint8Array;
  /** Byte of the lock bit, -1 where the function has none. */
  lockOffset = -1;
  /** Mask of the lock bit in its byte. */
  lockMask = 0;
  readonly #config: RegisterReader;

  constructor(config: RegisterReader, entries: readonly CapabilityEntry[], baseAddresses: readonly BaseAddress[]) {
    const bytes = (): Uint8Array => new Uint8Array(config.size);
    this.#config = config;
    this.bits = { RW: bytes(), RW1C: bytes(), RWL: bytes(), RWO: bytes(), W1: bytes() };
    this.structure = bytes();
    this.conventionalMask = bytes();
    this.conventionalValue = bytes();
    this.flrMask = bytes();
    this.flrValue = bytes();
    this.#markStructure(entries);
    this.#addLayout(headerLayout(config.read8(0x0e) & 0x7f), 0);
    for (const entry of entries) {
      const layout = capabilityLayout(config, entry);
      if (layout !== undefined) {
        this.#addLayout(layout, entry.offset);
      }
    }
    for (const { offset, mask } of baseAddresses) {
      setBits(this.bits.RW, offset, mask);
      setBits(this.conventionalMask, offset, mask);
      setBits(this.flrMask, offset, mask);
    }
    this.#protectHeaders(entries);
  }

  #markStructure(entries: readonly CapabilityEntry[]): void {
    for (const at of [0x00, 0x01, 0x02, 0x03, 0x06, 0x0e, 0x14, 0x34, 0x100, 0x101, 0x102, 0x103]) {
      or(this.structure, at, 1);
    }
    for (const entry of entries) {
      const length = entry.extended && entry.id === EXT_CAP_ID_DVSEC ? 10 : 4;
      for (let index = 0; index < length; index += 1) {
        or(this.structure, entry.offset + index, 1);
      }
    }
  }

  #addLayout(layout: CapabilityLayout, at: number): void {
    if (layout.lock !== undefined) {
      this.lockOffset = at + layout.lock.offset;
      this.lockMask = 1 << layout.lock.bit;
    }
    for (const register of layout.registers) {
      if (register.when !== undefined && !register.when(this.#config, at)) {
        continue;
      }
      for (const field of register.fields) {
        this.#addField(field, at, at + register.offset);
      }
    }
  }

  #addField(field: FieldLayout, capability: number, register: number): void {
    const { needs } = field;
    if (needs !== undefined) {
      or(this.structure, capability + needs.offset, 1);
      if ((this.#config.read8(capability + needs.offset) & (1 << needs.bit)) === 0) {
        return;
      }
    }
    const mask = (0xffffffff >>> (31 - field.high + field.low)) << field.low;
    const value = (field.reset ?? 0) << field.low;
    if (field.access !== "RO") {
      setBits(this.bits[field.access], register, mask);
    }
    // A read-only field without a reset value is hard-wired or the function's own; an action has no state.
    if (field.access === "W1" || (field.access === "RO" && field.reset === undefined)) {
      return;
    }
    if (field.survives !== "conventional") {
      setBits(this.conventionalMask, register, mask);
      setBits(this.conventionalValue, register, value);
    }
    if (field.survives === undefined || field.survives === "none") {
      setBits(this.flrMask, register, mask);
      setBits(this.flrValue, register, value);
    }
  }

  /** List headers are read only, also where a damaged list makes capabilities overlap. */
  #protectHeaders(entries: readonly CapabilityEntry[]): void {
    const all = [
      ...Object.values(this.bits),
      this.conventionalMask,
      this.conventionalValue,
      this.flrMask,
      this.flrValue,
    ];
    for (const entry of entries) {
      for (const masks of all) {
        masks.fill(0, entry.offset, entry.offset + (entry.extended ? 4 : 2));
      }
    }
  }
}

/** Finds the base address registers in use in the header and in the SR-IOV capability, from the values they hold. */
export function findBaseAddresses(config: RegisterReader, entries: readonly CapabilityEntry[]): BaseAddress[] {
  const found: BaseAddress[] = [];
  const { bars, rom } = baseAddressOffsets(config.read8(0x0e) & 0x7f);
  addBars(config, bars, found);
  const romMask = rom === 0 ? 0 : baseAddressMask(config.read32(rom), 11);
  if (romMask !== 0) {
    found.push({ offset: rom, mask: (romMask | 1) >>> 0 });
  }
  const sriov = entries.find((entry) => entry.extended && entry.id === EXT_CAP_ID_SRIOV);
  if (sriov !== undefined) {
    addBars(
      config,
      [0x24, 0x28, 0x2c, 0x30, 0x34, 0x38].map((offset) => sriov.offset + offset),
      found,
    );
  }
  return found;
}

function addBars(config: RegisterReader, offsets: readonly number[], found: BaseAddress[]): void {
  for (let index = 0; index < offsets.length; index += 1) {
    const offset = offsets[index] ?? 0;
    const value = config.read32(offset);
    const isIo = (value & 1) !== 0;
    const mask = baseAddressMask(value, isIo ? 2 : 4);
    if (!isIo && (value & 6) === 4 && index + 1 < offsets.length) {
      index += 1;
      const upper = offsets[index] ?? 0;
      const upperMask = mask === 0 ? baseAddressMask(config.read32(upper), 0) : 0xffffffff;
      found.push({ offset: upper, mask: upperMask });
    }
    found.push({ offset, mask });
  }
}

/** Sets the bits of a 32-bit mask, little-endian, from byte `at` on. */
function setBits(into: Uint8Array, at: number, mask: number): void {
  for (let byte = at, rest = mask; rest !== 0; byte += 1, rest >>>= 8) {
    or(into, byte, rest & 0xff);
  }
}

function or(into: Uint8Array, at: number, mask: number): void {
  const old = into[at];
  if (old !== undefined) {
    into[at] = old | mask;
  }
}
