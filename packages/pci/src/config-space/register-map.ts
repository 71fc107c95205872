import { capabilityLayout } from "./capability-layouts.ts";
import type { CapabilityEntry } from "./capability-list.ts";
import { EXT_CAP_ID_DVSEC, EXT_CAP_ID_SRIOV } from "./extended-layouts.ts";
import { baseAddressMask, baseAddressOffsets, headerLayout } from "./header-layout.ts";
import { COLUMN, COLUMNS, addToRow } from "./register-columns.ts";
import {
  type CapabilityLayout,
  type FieldLayout,
  type RegisterReader,
  fieldMask,
  registersOf,
} from "./register-layout.ts";

/** Writable bits of one base address register; offset in the function's config space. */
export interface BaseAddress {
  /** Byte offset of the 32-bit register. */
  readonly offset: number;
  /** The bits that software can change. */
  readonly mask: number;
}

/**
 * Which reset: `flr` is a Function Level Reset, `conventional` a hot reset (secondary bus reset, link down), `fundamental`
 * one that takes power or PERST# (cold or warm): sticky bits are lost.
 */
export type ConfigReset = "flr" | "conventional" | "fundamental";

/** A column of the map. */
export type MapColumn = keyof typeof COLUMN;

/**
 * The layouts of one function's registers, turned into masks, so that a write or a reset needs no table search. Only
 * dwords that have something to say take room: a function has some fifty of them among its 1024.
 */
export class RegisterMap {
  /** Byte of the lock bit, -1 where the function has none. */
  lockOffset = -1;
  /** Mask of the lock bit in its byte. */
  lockMask = 0;
  /** For each dword of the function its row, counted from 1; 0 = none. */
  readonly #rowOf: Uint16Array;
  /** Dword numbers in the order of their rows. */
  readonly #dwords: number[] = [];
  #rows = new Int32Array(64 * COLUMNS);
  readonly #config: RegisterReader;

  constructor(config: RegisterReader, entries: readonly CapabilityEntry[], baseAddresses: readonly BaseAddress[]) {
    this.#config = config;
    this.#rowOf = new Uint16Array(config.size >>> 2);
    this.#markStructure(entries);
    this.#addLayout(headerLayout(config.read8(0x0e) & 0x7f), 0, 0x40);
    for (const entry of entries) {
      const layout = capabilityLayout(config, entry);
      if (layout !== undefined) {
        this.#addLayout(layout, entry.offset, entry.extended ? config.size : Math.min(config.size, 256));
      }
    }
    for (const { offset, mask } of baseAddresses) {
      for (const column of [COLUMN.RW, COLUMN.flrMask, COLUMN.conventionalMask, COLUMN.fundamentalMask]) {
        this.#or(column, offset, mask);
      }
    }
    this.#protectHeaders(entries);
  }

  /** What column `column` says about the byte at `offset`. */
  byte(column: MapColumn, offset: number): number {
    const row = this.#rowOf[offset >>> 2] ?? 0;
    return row === 0 ? 0 : ((this.#rows[(row - 1) * COLUMNS + COLUMN[column]] ?? 0) >>> (8 * (offset & 3))) & 0xff;
  }

  /** Calls `visit` with each dword that a reset of this kind changes: its offset, the bits, and their new values. */
  eachReset(kind: ConfigReset, visit: (offset: number, mask: number, value: number) => void): void {
    const column = COLUMN[`${kind}Mask`];
    for (let row = 0; row < this.#dwords.length; row += 1) {
      const mask = this.#rows[row * COLUMNS + column] ?? 0;
      if (mask !== 0) {
        visit(4 * (this.#dwords[row] ?? 0), mask, this.#rows[row * COLUMNS + column + 1] ?? 0);
      }
    }
  }

  #markStructure(entries: readonly CapabilityEntry[]): void {
    const words = [0x00, 0x02, 0x06, 0x0e, 0x14, 0x34, 0x100, 0x102];
    for (const at of words) {
      this.#or(COLUMN.structure, at, 0xffff);
    }
    for (const entry of entries) {
      this.#or(COLUMN.structure, entry.offset, 0xffffffff);
      if (entry.extended && entry.id === EXT_CAP_ID_DVSEC) {
        this.#or(COLUMN.structure, entry.offset + 4, 0xffffffff);
        this.#or(COLUMN.structure, entry.offset + 8, 0xffff);
      }
    }
  }

  #addLayout(layout: CapabilityLayout, at: number, limit: number): void {
    if (layout.lock !== undefined) {
      this.lockOffset = at + layout.lock.offset;
      this.lockMask = 1 << layout.lock.bit;
    }
    for (const register of registersOf(layout, this.#config, at)) {
      if (at + register.offset >= limit) {
        // Repeated registers go on for as long as damaged counts say.
        break;
      }
      this.#addRow(register.row, at + register.offset);
      for (const field of register.conditional) {
        this.#addConditional(field, at, at + register.offset);
      }
    }
  }

  #addConditional(field: FieldLayout, capability: number, register: number): void {
    const { needs, reset = 0 } = field;
    if (needs !== undefined) {
      this.#or(COLUMN.structure, capability + needs.offset, 0xff);
      if ((this.#config.read8(capability + needs.offset) & (1 << needs.bit)) === 0) {
        return;
      }
    }
    const value = typeof reset === "number" ? reset : reset(this.#config, capability);
    const row = new Int32Array(COLUMNS);
    addToRow(row, field, fieldMask(field), value << field.low);
    this.#addRow(row, register);
  }

  #addRow(row: Int32Array, register: number): void {
    for (let column = 0; column < COLUMNS; column += 1) {
      const mask = row[column] ?? 0;
      if (mask !== 0) {
        this.#or(column, register, mask);
      }
    }
  }

  /** List headers are read only, also where a damaged list makes capabilities overlap. */
  #protectHeaders(entries: readonly CapabilityEntry[]): void {
    for (const entry of entries) {
      const row = this.#rowOf[entry.offset >>> 2] ?? 0;
      const kept = entry.extended ? 0 : 0xffff_0000;
      for (let column = 0; column < COLUMNS; column += 1) {
        if (row !== 0 && column !== COLUMN.structure) {
          const at = (row - 1) * COLUMNS + column;
          this.#rows[at] = (this.#rows[at] ?? 0) & kept;
        }
      }
    }
  }

  /** Sets the bits of a mask of up to 32 bits, whose bit 0 is bit 0 of the byte at `at`. */
  #or(column: number, at: number, mask: number): void {
    const shift = 8 * (at & 3);
    this.#orDword(column, at >>> 2, mask << shift);
    if (shift !== 0 && mask >>> (32 - shift) !== 0) {
      this.#orDword(column, (at >>> 2) + 1, mask >>> (32 - shift));
    }
  }

  #orDword(column: number, dword: number, mask: number): void {
    if (mask === 0 || dword >= this.#rowOf.length) {
      return;
    }
    let row = this.#rowOf[dword] ?? 0;
    if (row === 0) {
      this.#dwords.push(dword);
      row = this.#dwords.length;
      this.#rowOf[dword] = row;
      if (row * COLUMNS > this.#rows.length) {
        const larger = new Int32Array(2 * this.#rows.length);
        larger.set(this.#rows);
        this.#rows = larger;
      }
    }
    const at = (row - 1) * COLUMNS + column;
    this.#rows[at] = (this.#rows[at] ?? 0) | mask;
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
