import type { ResetKind } from "../reset/reset-kind.ts";
import type { FunctionRegisters } from "./function-registers.ts";

/** A VF, as far as its PF makes it come and go. */
export interface VirtualFunction {
  /** It loses its state and does not answer. */
  resetBegin(kind: ResetKind): void;
  /** It answers again. */
  resetEnd(): void;
}

/** The VFs of a function: the first NumVFs are there while VF Enable is 1. Without an SR-IOV capability all always are. */
export class VirtualFunctions {
  readonly #registers: FunctionRegisters;
  readonly #members: VirtualFunction[] = [];

  constructor(registers: FunctionRegisters) {
    this.#registers = registers;
  }

  /** VF Enable is 0, or the VF is beyond NumVFs. @param index from 0, as {@link VirtualFunctions.adopt} gave it */
  disabledAt(index: number): boolean {
    return this.#registers.hasSriov && (!this.#registers.vfsEnabled || index >= this.#registers.numVfs);
  }

  /**
   * Takes a VF in, in the order of their numbers.
   *
   * @param enabled whether it is there from the start, which means that firmware enabled VFs
   * @returns its place, from 0
   */
  adopt(vf: VirtualFunction, enabled: boolean): number {
    this.#members.push(vf);
    if (enabled) {
      this.#registers.enableVfs(this.#members.length);
    }
    return this.#members.length - 1;
  }

  /** A write by software. Source: PCIe 6.0 §9.3.3.3.1. */
  written(offset: number, size: number, before: number, after: number): void {
    const change = this.#registers.vfEnableChange(offset, size, before, after);
    for (const vf of change === 0 ? [] : this.#members) {
      if (change < 0) {
        vf.resetBegin("vf-disable");
      } else {
        vf.resetEnd();
      }
    }
  }

  /** A reset of the PF cleared VF Enable. */
  lost(): void {
    for (const vf of this.#registers.hasSriov ? this.#members : []) {
      vf.resetBegin("vf-disable");
    }
  }
}
