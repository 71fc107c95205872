import type { ResetKind } from "../reset/reset-kind.ts";

/** A VF, as far as its PF makes it come and go. */
export interface VirtualFunction {
  /** It loses its state and does not answer. */
  resetBegin(kind: ResetKind): void;
  /** It answers again. */
  resetEnd(): void;
}

/** The registers of a PF that make its VFs come and go. */
export interface SriovRegisters {
  /** Whether it has an SR-IOV capability. */
  readonly hasSriov: boolean;
  /** VF Enable. */
  readonly vfsEnabled: boolean;
  /** NumVFs. */
  readonly numVfs: number;
  /** Whether a write turned VF Enable on (1) or off (-1); 0 = neither. */
  vfEnableChange(offset: number, size: number, before: number, after: number): number;
  /** Sets VF Enable, VF MSE and NumVFs, as firmware leaves them. */
  enableVfs(count: number): void;
}

/** The VFs of a function: the first NumVFs are there while VF Enable is 1. Without an SR-IOV capability all always are. */
export class VirtualFunctions {
  readonly #registers: SriovRegisters;
  readonly #members: VirtualFunction[] = [];

  constructor(registers: SriovRegisters) {
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
