import type { Op, PhysicalMemory } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import {
  PASID_ENTRY_BYTES,
  encodePasidDirectoryEntry,
  pasidDirectoryOffset,
  pasidEntryOffset,
} from "../layout/pasid-entry.ts";
import type { EntryPlace, TableWriter } from "./table-writer.ts";
import type { IntelIommu } from "./unit.ts";

const PAGE = 4096;

/**
 * A device's PASID directory and tables. Tables come into being with the first PASID that needs them; directory entries
 * are never taken back while the device lives.
 *
 * Source: Linux 7.2 `intel_pasid_alloc_table()`, `intel_pasid_get_entry()`.
 */
export class PasidTable {
  /** Physical address of the directory. */
  readonly directory: number;
  /** PASIDs below this number have a place. */
  readonly maxPasid: number;
  readonly #unit: IntelIommu;
  readonly #memory: PhysicalMemory;
  readonly #writer: TableWriter;
  readonly #rid: number;
  readonly #tables = new Map<number, number>();

  /** @param maxPasid PASIDs wanted, 0 for a device without; the directory is at least a page */
  constructor(unit: IntelIommu, writer: TableWriter, rid: number, maxPasid: number) {
    this.#unit = unit;
    this.#memory = unit.memory;
    this.#writer = writer;
    this.#rid = rid;
    let size = PAGE;
    while (size < maxPasid / 8) {
      size *= 2;
    }
    this.maxPasid = size * 8;
    this.directory = unit.memory.allocate(size, PAGE, unit.name, "PASID directory");
  }

  /** PDTS of the context entry: the directory has 2^(PDTS+7) entries. */
  get directorySize(): number {
    return Math.max(0, Math.log2(this.maxPasid / 64) - 7);
  }

  /** The entry of a PASID, with its table made when it does not exist. @throws KernelError ENODEV out of range */
  *entry(pasid: number): Op<EntryPlace> {
    if (pasid >= this.maxPasid) {
      throw new KernelError("ENODEV", `PASID ${pasid} is beyond the PASID table`);
    }
    const index = pasid >>> 6;
    let table = this.#tables.get(index);
    if (table === undefined) {
      table = this.#memory.allocate(PAGE, PAGE, this.#unit.name, "PASID table");
      this.#tables.set(index, table);
      const place: EntryPlace = {
        kind: "vtd-pasid-directory",
        rid: this.#rid,
        pasid,
        address: this.directory + pasidDirectoryOffset(pasid),
        qwords: 1,
      };
      yield* this.#writer.install(place, encodePasidDirectoryEntry({ present: true, faultDisable: false, table }));
    }
    return {
      kind: "vtd-pasid",
      rid: this.#rid,
      pasid,
      address: table + pasidEntryOffset(pasid),
      qwords: PASID_ENTRY_BYTES / 8,
    };
  }

  /** Gives the memory back. */
  free(): void {
    for (const table of this.#tables.values()) {
      this.#memory.release(table);
    }
    this.#memory.release(this.directory);
  }
}
