import type { Digest, Digestible } from "@iommu-lab/core";
import type { InterruptLine } from "../interrupt-line.ts";
import { IRQ_CTRL } from "../layout/registers.ts";

/** Which interrupts are on (SMMU_IRQ_CTRL). */
export interface InterruptMask {
  /** One of the `IRQ_CTRL` bits. */
  interruptEnabled(bit: number): boolean;
}

/**
 * SMMU_GERROR and SMMU_GERRORN: an error is active while its bits differ; hardware toggles one side, software
 * acknowledges by making the other equal.
 *
 * Source: SMMUv3 §7.5, §6.3.17.
 */
export class GlobalErrors implements Digestible {
  readonly #mask: InterruptMask;
  readonly #line: InterruptLine;
  #raised = 0;
  #acknowledged = 0;

  constructor(mask: InterruptMask, line: InterruptLine) {
    this.#mask = mask;
    this.#line = line;
  }

  /** SMMU_GERROR. */
  get raised(): number {
    return this.#raised;
  }

  /** SMMU_GERRORN. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Whether an error waits for its acknowledgement. */
  active(bit: number): boolean {
    return ((this.#raised ^ this.#acknowledged) & bit) !== 0;
  }

  /** An error happened. One that is active already does not happen again. */
  raise(bit: number): void {
    if (this.active(bit)) {
      return;
    }
    this.#raised = (this.#raised ^ bit) >>> 0;
    if (this.#mask.interruptEnabled(IRQ_CTRL.gerror)) {
      this.#line.raise();
    }
  }

  /** Software writes SMMU_GERRORN. */
  acknowledge(value: number): void {
    this.#acknowledged = value >>> 0;
  }

  digest(into: Digest): void {
    into.number(this.#raised);
    into.number(this.#acknowledged);
  }
}
