import { type Op, type Words, getBits, hexWords, preempt, setBits } from "@iommu-lab/core";
import type { Rid } from "@iommu-lab/pci";
import { pciForEachDmaAlias } from "@iommu-lab/pci";
import { invalidateDevtabEntry, invalidateIommuPages, invalidateIotlbPages } from "../layout/command.ts";
import { DTE_BYTES, EMPTY_DTE, decodeDte, describeDte, encodeDte } from "../layout/device-table-entry.ts";
import type { DeviceTableEntry } from "../layout/device-table-entry.ts";
import { ALL_PAGES } from "../layout/page-range.ts";
import type { DeviceData } from "./device-data.ts";
import type { FirmwareDescription } from "../firmware/description.ts";
import { applySetting } from "./firmware.ts";
import type { InvalidationSite } from "./invalidation-site.ts";
import type { AmdUnit, DriverPorts } from "./unit.ts";

const HALF = DTE_BYTES / 2;

/** Finds or makes what is kept of a requester ID. Source: Linux 7.2 `find_dev_data()`. */
export type FindDeviceData = (unit: AmdUnit, rid: Rid) => DeviceData;

/**
 * The device table of the PCI segment, and how the driver changes its entries: two stores of 128 bits each, in the order
 * in which hardware never sees a valid half without the other, and an invalidation and a wait behind them.
 *
 * Source: Linux 7.2 drivers/iommu/amd/iommu.c.
 */
export class DeviceTable {
  /** Physical address. */
  readonly address: number;
  /** Length in bytes. */
  readonly bytes: number;
  readonly #firmware: FirmwareDescription;
  readonly #ports: DriverPorts;
  readonly #find: FindDeviceData;
  readonly #plainCopies: boolean;

  /**
   * Allocates the table. Source: Linux 7.2 `alloc_pci_segment()`.
   *
   * @param plainCopies aliases get a copy of the words (6.1)
   */
  constructor(firmware: FirmwareDescription, ports: DriverPorts, find: FindDeviceData, plainCopies: boolean) {
    const needed = (firmware.lastDeviceId + 1) * DTE_BYTES;
    this.bytes = Math.max(4096, 2 ** Math.ceil(Math.log2(needed)));
    this.address = ports.memory.allocate(this.bytes, 4096, "amd-iommu", "device table");
    this.#firmware = firmware;
    this.#ports = ports;
    this.#find = find;
    this.#plainCopies = plainCopies;
  }

  /** Number of entries that firmware's device IDs use. */
  get entries(): number {
    return this.#firmware.lastDeviceId + 1;
  }

  /** The words of an entry as they are in memory. */
  read(rid: Rid): Words {
    const { memory } = this.#ports;
    const words = new Uint32Array(DTE_BYTES / 4);
    for (let index = 0; index < words.length; index += 1) {
      words[index] = memory.load32(this.address + rid * DTE_BYTES + index * 4);
    }
    return words;
  }

  /**
   * Puts what firmware wants to stay into the entries, before any device uses them; later changes take the interrupt half
   * from memory.
   *
   * Source: Linux 7.2 `set_dev_entry_from_acpi_range()`.
   */
  *applySettings(): Op<void> {
    const { memory } = this.#ports;
    const { settings } = this.#firmware;
    if (settings.length > 0) {
      yield preempt;
    }
    for (const { first, last } of settings) {
      for (let rid = first; rid <= Math.min(last, this.entries - 1); rid += 1) {
        const words = new Uint32Array(DTE_BYTES / 4);
        applySetting(this.#firmware, rid, words);
        for (const [index, word] of words.entries()) {
          memory.store32(this.address + rid * DTE_BYTES + index * 4, word);
        }
      }
    }
  }

  /**
   * Sets the same bits in all entries, before any device uses them.
   *
   * Source: Linux 7.2 `init_device_table()`, `init_device_table_dma()`.
   *
   * @param quadword 0 … 3
   */
  *setInAll(quadword: number, bits: number, what: string): Op<void> {
    const { memory, trace } = this.#ports;
    yield preempt;
    const event = trace.active
      ? trace.emit("table:write", {
          iommu: "amd-iommu",
          kind: "device-table",
          rid: 0,
          address: this.address,
          before: [],
          after: [],
          decoded: what,
        })
      : 0;
    for (let rid = 0; rid < this.entries; rid += 1) {
      const at = this.address + rid * DTE_BYTES + quadword * 8;
      memory.store32(at, (memory.load32(at) | bits) >>> 0);
      memory.noteWriter(at, event, 8);
    }
  }

  /**
   * The entry that every change starts from: V, and what firmware wants to stay.
   *
   * Source: Linux 7.2 `amd_iommu_make_clear_dte()`.
   */
  clearEntry(rid: Rid): Words {
    const words = encodeDte({ ...EMPTY_DTE, valid: true });
    applySetting(this.#firmware, rid, words);
    return words;
  }

  /** {@link DeviceTable.clearEntry} with translation fields set. */
  entryWith(rid: Rid, fields: Partial<DeviceTableEntry>): Words {
    return encodeDte({ ...decodeDte(this.clearEntry(rid)), ...fields });
  }

  /** Writes an entry and makes the unit read it. Source: Linux 7.2 `amd_iommu_update_dte()`. */
  *update(device: DeviceData, words: Words): Op<void> {
    yield* this.#update256(device, words, "update-dte256:devtab");
    yield* this.cloneAliases(device);
    yield* this.flush(device);
    yield* device.unit.completionWait();
  }

  /**
   * Writes the translation half of an entry, 64 bits at a time. Of the second word I, SE, SA, IoCtl, Cache, SD, EX and
   * SysMgt stay as they are, even where the new entry has them 0. Invalidates nothing.
   *
   * Source: Linux 6.12 `set_dte_entry()`, `clear_dte_entry()`, `DTE_FLAG_MASK`.
   *
   * @param order which of the two words is stored first
   */
  *patch(device: DeviceData, words: Words, order: "first-second" | "second-first"): Op<void> {
    const kept = getBits(this.read(device.rid), 105, 96);
    const next = Uint32Array.from(words);
    setBits(next, 105, 96, getBits(next, 105, 96) | kept);
    for (const quadword of order === "first-second" ? [0, 1] : [1, 0]) {
      yield preempt;
      this.#storeWord(device, quadword, next);
    }
  }

  /**
   * Gives the other requester IDs of a function's DMA the same entry: first the one that firmware knows, which may be on
   * another bus, then those of the PCI core.
   *
   * Source: Linux 7.2 `clone_aliases()`, `clone_alias()`; 6.1 copies plainly.
   */
  *cloneAliases(device: DeviceData): Op<void> {
    for (const rid of [device.alias, ...pciForEachDmaAlias(device.function).map((one) => one.rid)]) {
      if (rid !== device.rid && this.#plainCopies) {
        const words = this.read(device.rid);
        for (let quadword = 0; quadword < DTE_BYTES / 8; quadword += 1) {
          yield preempt;
          this.#storeWord(this.#find(device.unit, rid), quadword, words);
        }
      } else if (rid !== device.rid) {
        const words = this.read(device.rid);
        yield* this.#update256(this.#find(device.unit, rid), words, "update-dte256-alias:devtab");
      }
    }
  }

  /**
   * Queues INVALIDATE_DEVTAB_ENTRY for all requester IDs of a function, for the one that firmware knows once more, and for
   * its ATC when ATS is on; waits for nothing.
   *
   * Source: Linux 7.2 `device_flush_dte()`.
   */
  *flush(device: DeviceData): Op<void> {
    const { unit } = device;
    const { alias } = device;
    const others = alias === device.rid ? [] : [alias];
    for (const rid of [...pciForEachDmaAlias(device.function).map((one) => one.rid), ...others]) {
      const site = rid === device.rid ? "device-flush-dte:devtab" : "device-flush-dte-alias:devtab";
      if (!(yield* unit.queue(site, invalidateDevtabEntry(rid)))) {
        return;
      }
    }
    if (device.atsEnabled) {
      yield* unit.queue("device-flush-dte:iotlb", invalidateIotlbPages(iotlbOf(device), 0, ALL_PAGES));
    }
  }

  /** Invalidates a domain ID that an entry had before. Source: Linux 7.2 `amd_iommu_flush_tlb_domid()`. */
  *flushDomainId(unit: AmdUnit, domainId: number): Op<void> {
    yield* unit.queue("old-domain:pages", invalidateIommuPages({ domainId }, 0, ALL_PAGES, true));
    yield* unit.completionWait();
  }

  /**
   * Source: Linux 7.2 `update_dte256()`. Interrupt fields stay as they are in memory.
   */
  *#update256(device: DeviceData, words: Words, site: InvalidationSite): Op<void> {
    yield device.dteLock.exclusive;
    const now = decodeDte(this.read(device.rid));
    const next = decodeDte(words);
    if (!now.valid || (next.valid && !now.guestValid)) {
      yield* this.#storeUpper(device, words);
      yield* this.#storeLower(device, words);
      yield* this.#flushSync(device, site);
    } else if (!next.valid || !next.guestValid) {
      yield* this.#storeLower(device, words);
      yield* this.#storeUpper(device, words);
      yield* this.#flushSync(device, site);
    } else if (now.guestPagingMode === next.guestPagingMode) {
      yield* this.#storeLower(device, words);
    } else {
      yield* this.#storeLower(device, new Uint32Array(DTE_BYTES / 4));
      yield* this.#flushSync(device, site);
      yield* this.#storeUpper(device, words);
      yield* this.#storeLower(device, words);
      yield* this.#flushSync(device, site);
    }
    device.dteLock.release();
  }

  *#flushSync(device: DeviceData, site: InvalidationSite): Op<void> {
    if (yield* device.unit.queue(site, invalidateDevtabEntry(device.rid))) {
      yield* device.unit.completionWait();
    }
  }

  *#storeLower(device: DeviceData, words: Words): Op<void> {
    yield preempt;
    this.#store(device, 0, words);
  }

  *#storeUpper(device: DeviceData, words: Words): Op<void> {
    yield preempt;
    const now = this.read(device.rid);
    const upper = Uint32Array.from(words);
    upper[4] = now[4] ?? 0;
    upper[5] = now[5] ?? 0;
    setBits(upper, 183, 180, getBits(words, 183, 180));
    this.#store(device, HALF, upper);
  }

  #storeWord(device: DeviceData, quadword: number, words: Words): void {
    const { memory } = this.#ports;
    const address = this.address + device.rid * DTE_BYTES + quadword * 8;
    this.#reported(device, address, 8, () =>
      memory.store64(address, words[quadword * 2] ?? 0, words[quadword * 2 + 1] ?? 0),
    );
  }

  /** 128 bits at once. */
  #store(device: DeviceData, offset: number, words: Words): void {
    const { memory } = this.#ports;
    const address = this.address + device.rid * DTE_BYTES + offset;
    const first = offset / 4;
    this.#reported(device, address, HALF, () => {
      memory.store64(address, words[first] ?? 0, words[first + 1] ?? 0);
      memory.store64(address + 8, words[first + 2] ?? 0, words[first + 3] ?? 0);
    });
  }

  /** Stores, and tells the trace when the entry changed. */
  #reported(device: DeviceData, at: number, size: number, store: () => void): void {
    const { memory, trace } = this.#ports;
    const address = this.address + device.rid * DTE_BYTES;
    const before = trace.active ? hexWords(this.read(device.rid)) : [];
    store();
    if (!trace.active) {
      return;
    }
    const after = this.read(device.rid);
    if (hexWords(after).every((word, index) => word === before[index])) {
      return;
    }
    const fields = { iommu: device.unit.name, kind: "dte", rid: device.rid, address, before };
    const event = trace.emit("table:write", { ...fields, after: hexWords(after), decoded: describeDte(after) });
    memory.noteWriter(at, event, size);
  }
}

/** The target of INVALIDATE_IOTLB_PAGES for a device. */
export function iotlbOf(
  device: DeviceData,
  pasid?: number,
): { deviceId: Rid; queueId: Rid; maxPending: number; pasid?: number } {
  const target = { deviceId: device.rid, queueId: device.rid, maxPending: device.atsQueueDepth };
  return pasid === undefined ? target : { ...target, pasid };
}
