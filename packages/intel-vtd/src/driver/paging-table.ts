import type { PageTableFormat } from "@iommu-lab/core";
import { KernelError, x86_64 } from "@iommu-lab/core";
import { secondStage } from "../layout/second-stage.ts";
import type { IntelIommu } from "./unit.ts";

/** The page table of a paging domain, chosen by what the unit has. */
export interface PagingTable {
  readonly stage: "first" | "second";
  readonly format: PageTableFormat;
  /** First page number beyond what can be mapped. */
  readonly endPage: number;
  /** Tables are read coherently. */
  readonly coherent: boolean;
}

/**
 * First stage where scalable mode has it, else second stage.
 *
 * Source: Linux 7.2 `intel_iommu_domain_alloc_paging_flags()`, `compute_vasz_lg2_fs()`, `compute_vasz_lg2_ss()`.
 *
 * @throws KernelError EOPNOTSUPP when the unit has neither
 */
export function choosePagingTable(unit: IntelIommu): PagingTable {
  const { caps, scalable, coherentTables: coherent } = unit;
  if (scalable && caps.fsts) {
    const endPage = Math.min(x86_64.endPage, 2 ** (caps.mgaw - 12));
    return { stage: "first", format: x86_64, endPage, coherent };
  }
  if (scalable && !caps.ssts) {
    throw new KernelError("EOPNOTSUPP", `${unit.name} has no paging in scalable mode`);
  }
  const { levels, width } = secondStageShape(caps.sagaw, caps.mgaw);
  return { stage: "second", format: secondStage(levels), endPage: 2 ** (width - 12), coherent };
}

/** Four levels wherever the unit has them, also for a width that three would do for. */
function secondStageShape(sagaw: number, mgaw: number): { readonly levels: 3 | 4; readonly width: number } {
  const levels = (sagaw & 4) === 0 ? 3 : 4;
  if (mgaw > 39 && levels === 4) {
    return { levels, width: Math.min(48, mgaw) };
  }
  if (mgaw > 30 && sagaw >= 2) {
    return { levels, width: Math.min(39, mgaw) };
  }
  throw new KernelError("EOPNOTSUPP", "no second-stage width is supported");
}

/**
 * Whether a unit can use a table that was made for another one.
 *
 * Source: Linux 7.2 `paging_domain_compatible()`.
 *
 * @throws KernelError EINVAL
 */
export function checkCompatible(table: PagingTable, unit: IntelIommu): void {
  const { caps, scalable, coherentTables } = unit;
  const usable = table.stage === "first" ? scalable && caps.fsts : fitsSecondStage(table, unit);
  if (!usable || (table.coherent && !coherentTables)) {
    throw new KernelError("EINVAL", `${unit.name} cannot use a ${table.stage}-stage table of ${table.format.name}`);
  }
}

function fitsSecondStage(table: PagingTable, { caps, scalable }: IntelIommu): boolean {
  const stage = !scalable || caps.ssts;
  const width = 2 ** (caps.mgaw - 12) >= table.endPage;
  return stage && width && (caps.sagaw & (1 << (table.format.levels - 2))) !== 0;
}
