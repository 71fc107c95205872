import type { PageTableFormat } from "../page-table/format.ts";
import { PageTable } from "../page-table/page-table.ts";
import type { PhysicalMemory } from "../sim/memory.ts";
import type { ProcessMemory } from "./types.ts";

/** A process whose address space devices may share: CPU page tables in physical memory. */
export class Process implements ProcessMemory {
  /** For printing. */
  readonly name: string;
  /** Its page table; map into it what the process has. */
  readonly table: PageTable;

  constructor(memory: PhysicalMemory, format: PageTableFormat, name: string) {
    this.name = name;
    this.table = new PageTable(memory, format, name, "process page table");
  }

  /** Physical address of the top table. */
  get root(): number {
    return this.table.root;
  }

  /** Name of the table format. */
  get formatName(): string {
    return this.table.format.name;
  }
}
