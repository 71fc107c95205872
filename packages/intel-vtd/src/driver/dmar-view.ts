import type { PciDev } from "@iommu-lab/pci";
import type { DmarTable } from "../firmware/dmar.ts";
import type { AtsStatement, DmarRegion, ScopedDevice } from "../firmware/scope-match.ts";
import { atsStatement, regionsOf, unitOf } from "../firmware/scope-match.ts";

/** The firmware's table as the driver asks it. */
export class DmarView {
  readonly #table: DmarTable;

  constructor(table: DmarTable) {
    this.#table = table;
  }

  /** Registers of the unit that serves a function, or the PF of a VF; undefined = none does. */
  unitBase(dev: PciDev): number | undefined {
    return unitOf(this.#table, scoped(dev.physfn ?? dev))?.base;
  }

  /** What is said of ATS for a function (not a VF). @param rootPort the root port above it */
  ats(dev: PciDev, rootPort?: PciDev): AtsStatement {
    return atsStatement(this.#table, scoped(dev), rootPort === undefined ? undefined : scoped(rootPort));
  }

  /** Memory that a function must reach 1:1. */
  regions(dev: PciDev): readonly DmarRegion[] {
    return regionsOf(this.#table, scoped(dev));
  }
}

/** A function as device scopes know it. Source: Linux 7.2 `dmar_alloc_pci_notify_info()`. */
function scoped(dev: PciDev): ScopedDevice {
  const path: { readonly bus: number; readonly device: number; readonly function: number }[] = [];
  for (let at: PciDev | undefined = dev; at !== undefined; at = at.bridge) {
    path.unshift({ bus: at.rid >>> 8, device: (at.rid >>> 3) & 0x1f, function: at.rid & 7 });
  }
  return { segment: dev.segment, path, isBridge: dev.headerType === 1, class: dev.class };
}
