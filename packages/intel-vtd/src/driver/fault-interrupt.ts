import type { Engine, Mmio } from "@iommu-lab/core";
import type { InterruptSink } from "../interrupt.ts";
import { FSTS, FSTS_PFO, FSTS_PPF } from "../layout/registers.ts";
import type { IntelIommu } from "./unit.ts";

const RECORD_VALID = 0x80000000;

/** Vector of the fault event. */
export const FAULT_VECTOR = 0x30;
/** Vector of the page request event. */
export const PAGE_REQUEST_VECTOR = 0x31;
/** Where the units write their messages. */
export const MESSAGE_ADDRESS = 0xfee00000;

/**
 * The CPU's side of a unit's fault event: reads all records, gives them back, clears the status. As an engine it runs
 * when the kernel's own work lets it.
 *
 * Source: Linux 7.2 `dmar_fault()`.
 */
export class FaultInterrupt implements Engine, InterruptSink {
  readonly name: string;
  #unit: IntelIommu | undefined;
  #pending = false;

  /** @param unitName such as `dmar0` */
  constructor(unitName: string) {
    this.name = `${unitName} fault interrupt`;
  }

  /** The driver has taken the unit over. */
  serve(unit: IntelIommu): void {
    this.#unit = unit;
  }

  message(_address: number, data: number): void {
    if (data === FAULT_VECTOR) {
      this.#pending = true;
    }
  }

  ready(): boolean {
    return this.#pending && this.#unit !== undefined;
  }

  step(): void {
    this.#pending = false;
    if (this.#unit !== undefined) {
      clearFaults(this.#unit);
    }
  }

  deadline(): number {
    return Infinity;
  }
}

/** Takes all fault records out, in the order in which they were written. */
export function clearFaults(unit: IntelIommu): void {
  const { mmio, base, caps } = unit;
  const status = unit.read32(FSTS);
  if ((status & FSTS_PPF) === 0) {
    return;
  }
  let index = (status >>> 8) & 0xff;
  for (let count = 0; count < caps.faultRecords; count += 1) {
    if (!takeRecord(mmio, base + caps.faultRecordOffset + index * 16)) {
      break;
    }
    index = (index + 1) % caps.faultRecords;
  }
  mmio.write32(base + FSTS, FSTS_PFO | FSTS_PPF);
}

/** @returns whether the record was in use */
function takeRecord(mmio: Mmio, address: number): boolean {
  if (mmio.read32(address + 12) < RECORD_VALID) {
    return false;
  }
  mmio.write32(address + 12, RECORD_VALID);
  return true;
}
