import type { Digest } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import { type CapabilityLists, walkCapabilities } from "./capability-list.ts";
import { EXT_CAP_ID_DVSEC } from "./extended-layouts.ts";
import type { RegisterReader } from "./register-layout.ts";
import { type BaseAddress, type ConfigReset, RegisterMap, findBaseAddresses } from "./register-map.ts";

/**
 * Told about a write by software, after it took effect.
 *
 * @param offset - byte offset of the write
 * @param size - its size in bytes
 * @param before - what a read of that place gave before the write
 * @param after - what it gives now
 * @param started - the bits written as 1 that start an action and read as 0 (Initiate FLR, PRI Reset, Initiate CXL Reset, …)
 */
export type ConfigWriteListener = (
  offset: number,
  size: 1 | 2 | 4,
  before: number,
  after: number,
  started: number,
) => void;

/** Bytes of conventional PCI config space. */
const CONVENTIONAL_BYTES = 256;
/** Bytes of PCI Express config space. */
const EXTENDED_BYTES = 4096;

/**
 * The config space of one function: bytes with register semantics. The function itself changes them with `poke`, software
 * with `write`. Both sides read the same bytes.
 *
 * @example
 * ```ts
 * const config = new ConfigSpace(endpointConfig({ vendor: 0x8086, device: 0x1592, class: 0x020000, ats: { queueDepth: 32 } }));
 * const ats = config.findExtendedCapability(0x0f);
 * config.write(ats + 6, 2, 0x8000); // ATS Control: Enable
 * ```
 */
export class ConfigSpace implements RegisterReader {
  /** Bytes that can be read: 256 or 4096. */
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #present: number;
  readonly #baseAddresses: readonly BaseAddress[];
  #listeners: readonly ConfigWriteListener[] = [];
  #lists: CapabilityLists | undefined;
  #map: RegisterMap | undefined;

  /**
   * @param bytes - 256 or 4096 bytes, which are copied; a shorter dump is padded with zeros to the next of these sizes
   * @param origin - the config space of which these are the bytes as they stand: for {@link ConfigSpace.fork}
   * @throws InputError when there are no bytes, or more than 4096
   */
  constructor(bytes: Uint8Array, origin?: ConfigSpace) {
    if (bytes.length === 0 || bytes.length > EXTENDED_BYTES) {
      throw new InputError(`config space of ${bytes.length} bytes, expected 1 to ${EXTENDED_BYTES}`);
    }
    this.size = bytes.length <= CONVENTIONAL_BYTES ? CONVENTIONAL_BYTES : EXTENDED_BYTES;
    this.#bytes = new Uint8Array(this.size);
    this.#bytes.set(bytes);
    if (origin === undefined) {
      this.#present = bytes.length;
      this.#baseAddresses = findBaseAddresses(this, this.capabilities().entries);
      return;
    }
    this.#present = origin.#present;
    this.#baseAddresses = origin.#baseAddresses;
    this.#lists = origin.capabilities();
    this.#map = origin.#registerMap();
  }

  /**
   * Another function with the same registers as they stand now, without listeners. What is found out about a layout is shared:
   * a machine that is made again and again should be forked from one that is never written.
   */
  fork(): ConfigSpace {
    return new ConfigSpace(this.#bytes, this);
  }

  /** One byte; all ones beyond {@link ConfigSpace.size}. */
  read8(offset: number): number {
    return this.#bytes[offset] ?? 0xff;
  }

  /** Two bytes, little-endian. */
  read16(offset: number): number {
    return this.read8(offset) | (this.read8(offset + 1) << 8);
  }

  /** Four bytes, little-endian, unsigned. */
  read32(offset: number): number {
    return (this.read16(offset) | (this.read16(offset + 2) << 16)) >>> 0;
  }

  /** A copy of all bytes, as a dump shows them. */
  toBytes(): Uint8Array {
    return this.#bytes.slice();
  }

  /** The function itself changes one byte, whatever software could do with it. Nobody is told. */
  poke8(offset: number, value: number): void {
    const byte = value & 0xff;
    if (offset < 0 || offset >= this.size || this.#bytes[offset] === byte) {
      return;
    }
    this.#bytes[offset] = byte;
    if (this.#map !== undefined && this.#map.byte("structure", offset) !== 0) {
      this.#map = undefined;
    }
    if (this.#lists !== undefined && this.#isListByte(offset, this.#lists)) {
      this.#lists = undefined;
    }
  }

  /** As {@link poke8}, two bytes. */
  poke16(offset: number, value: number): void {
    this.poke8(offset, value);
    this.poke8(offset + 1, value >>> 8);
  }

  /** As {@link poke8}, four bytes. */
  poke32(offset: number, value: number): void {
    this.poke16(offset, value);
    this.poke16(offset + 2, value >>> 16);
  }

  /**
   * Software's write. Each bit does what its register says (read only, writable, cleared by 1, locked, …); bits of
   * registers that the model does not know are read only, and bytes beyond {@link ConfigSpace.size} are ignored.
   */
  write(offset: number, size: 1 | 2 | 4, value: number): void {
    const map = this.#registerMap();
    const before = this.#read(offset, size);
    const isLocked = map.lockOffset >= 0 && (this.read8(map.lockOffset) & map.lockMask) !== 0;
    let started = 0;
    for (let index = 0; index < size; index += 1) {
      const at = offset + index;
      const old = this.#bytes[at];
      if (old === undefined) {
        continue;
      }
      const written = (value >>> (8 * index)) & 0xff;
      const writable = map.byte("RW", at) | (isLocked ? 0 : map.byte("RWL", at));
      let result = (old & ~writable) | (written & writable);
      result &= ~(written & map.byte("RW1C", at));
      result |= written & map.byte("RWO", at);
      this.#bytes[at] = result;
      started |= (written & map.byte("W1", at)) << (8 * index);
    }
    const after = this.#read(offset, size);
    for (const listener of this.#listeners) {
      listener(offset, size, before, after, started >>> 0);
    }
  }

  /** Calls `listener` after every {@link write}; the result stops it. */
  onWrite(listener: ConfigWriteListener): () => void {
    this.#listeners = [...this.#listeners, listener];
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== listener);
    };
  }

  /** Offset of the first capability with this id in the standard list, 0 when there is none. */
  findCapability(id: number): number {
    return this.capabilities().entries.find((entry) => !entry.extended && entry.id === id)?.offset ?? 0;
  }

  /** Offset of the first capability with this id in the extended list, 0 when there is none. */
  findExtendedCapability(id: number): number {
    return this.capabilities().entries.find((entry) => entry.extended && entry.id === id)?.offset ?? 0;
  }

  /** Offset of the first DVSEC of this vendor with this DVSEC id, 0 when there is none. */
  findDvsec(vendor: number, id: number): number {
    const found = this.capabilities().entries.find(
      (entry) =>
        entry.extended &&
        entry.id === EXT_CAP_ID_DVSEC &&
        this.read16(entry.offset + 4) === vendor &&
        this.read16(entry.offset + 8) === id,
    );
    return found?.offset ?? 0;
  }

  /** Both capability lists, and what is wrong with them. */
  capabilities(): CapabilityLists {
    this.#lists ??= walkCapabilities(this, this.#present);
    return this.#lists;
  }

  /**
   * What a reset does to the registers (PCIe 6.0 §6.6). All clear Command, the base addresses and every Enable bit. An
   * FLR keeps the link's settings, Max_Payload_Size, and CXL.cache and CXL.mem state with CONFIG_LOCK; an FLR and a
   * conventional reset keep sticky bits (AER, DPC, PME), which a fundamental reset clears as well.
   */
  reset(kind: ConfigReset): void {
    this.#registerMap().eachReset(kind, (offset, mask, value) => {
      const now = (this.read32(offset) & ~mask) | value;
      for (let index = 0; index < 4; index += 1) {
        this.#bytes[offset + index] = now >>> (8 * index);
      }
    });
  }

  /** Writes all bytes into `into`. */
  digest(into: Digest): void {
    for (let at = 0; at < this.size; at += 4) {
      into.number(this.read32(at));
    }
  }

  #read(offset: number, size: 1 | 2 | 4): number {
    if (size === 1) {
      return this.read8(offset);
    }
    return size === 2 ? this.read16(offset) : this.read32(offset);
  }

  #registerMap(): RegisterMap {
    this.#map ??= new RegisterMap(this, this.capabilities().entries, this.#baseAddresses);
    return this.#map;
  }

  /** Whether what the lists are made of stands in this byte. */
  #isListByte(offset: number, lists: CapabilityLists): boolean {
    const dword = offset & 0xffc;
    return offset < 0x40 || dword === 0x100 || lists.entries.some((entry) => entry.offset === dword);
  }
}
