import type { ResetKind } from "../reset/reset-kind.ts";
import type { FunctionRegisters } from "./function-registers.ts";

/** A VF, as far as its PF makes it come and go. */
export interface VirtualFunction {
  /** It loses its state and does not answer. */
  resetBegin(kind: ResetKind): void;
  /** It answers again. */
  resetEnd(): void;
}

/** The VFs of a function: they are there while VF Enable is 1. Without an SR-IOV capability they always are. */
export class VirtualFunctions {
  readonly #registers: FunctionRegisters;
  readonly #members: VirtualFunction[] = [];

  constructor(registers: FunctionRegisters) {
    this.#registers = registers;
  }

  /** VF Enable is 0. */
  get disabled(): boolean {
    return this.#registers.hasSriov && !this.#registers.vfsEnabled;
  }

  /** A VF that is there from the start means that firmware enabled VFs. */
  adopt(vf: VirtualFunction): void {
    this.#members.push(vf);
    this.#registers.enableVfs();
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
