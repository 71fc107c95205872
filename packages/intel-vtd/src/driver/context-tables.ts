import type { Op } from "@iommu-lab/core";
import { CONTEXT_ENTRY_BYTES } from "../layout/context-entry.ts";
import { ROOT_ENTRY_BYTES } from "../layout/root-entry.ts";
import { SCALABLE_CONTEXT_BYTES } from "../layout/scalable-context-entry.ts";
import type { EntryPlace, TableWriter } from "./table-writer.ts";
import type { IntelIommu } from "./unit.ts";

/**
 * Root table and context tables of a unit. A context table comes into being with the first entry that needs it and
 * stays.
 *
 * Source: Linux 7.2 `iommu_context_addr()`.
 */
export class ContextTables {
  readonly #unit: IntelIommu;
  readonly #writer: TableWriter;

  constructor(unit: IntelIommu, writer: TableWriter) {
    this.#unit = unit;
    this.#writer = writer;
  }

  /** Allocates the root table (`iommu_alloc_root_entry()`). */
  allocateRoot(): void {
    this.#unit.rootTable = this.#unit.memory.allocate(4096, 4096, this.#unit.name, "root table");
  }

  /** The context entry of a requester; undefined when its table does not exist. */
  find(rid: number): EntryPlace | undefined {
    const { place, index } = this.#half(rid);
    const { memory } = this.#unit;
    memory.load64(place.address);
    const { lo, hi } = memory;
    return (lo & 1) === 0 ? undefined : this.#entry(rid, hi * 2 ** 32 + ((lo & 0xfffff000) >>> 0), index);
  }

  /** The context entry of a requester, with its table made when it does not exist. */
  *obtain(rid: number): Op<EntryPlace> {
    const known = this.find(rid);
    if (known !== undefined) {
      return known;
    }
    const table = this.#unit.memory.allocate(4096, 4096, this.#unit.name, "context table");
    const { place, index } = this.#half(rid);
    yield* this.#writer.install(place, new Uint32Array([(table | 1) >>> 0, Math.floor(table / 2 ** 32)]));
    return this.#entry(rid, table, index);
  }

  /** The half of the root entry that covers a requester, and the index in the table behind it. */
  #half(rid: number): { readonly place: EntryPlace; readonly index: number } {
    const devfn = rid & 0xff;
    const upper = this.#unit.scalable && devfn >= 0x80;
    const address = this.#unit.rootTable + (rid >>> 8) * ROOT_ENTRY_BYTES + (upper ? 8 : 0);
    return {
      place: { kind: "vtd-root", rid, address, qwords: 1 },
      index: this.#unit.scalable ? devfn & 0x7f : devfn,
    };
  }

  #entry(rid: number, table: number, index: number): EntryPlace {
    const bytes = this.#unit.scalable ? SCALABLE_CONTEXT_BYTES : CONTEXT_ENTRY_BYTES;
    return { kind: "vtd-context", rid, address: table + index * bytes, qwords: bytes / 8 };
  }
}
