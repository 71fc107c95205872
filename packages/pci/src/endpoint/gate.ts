import { NO_PASID, REQUEST_EXECUTE, REQUEST_PRIVILEGED } from "../fabric/request.ts";
import type { FunctionRegisters } from "./function-registers.ts";
import type { Obeys } from "./obeys.ts";
import type { ResetTimer } from "./reset-timer.ts";
import type { VirtualFunctions } from "./virtual-functions.ts";

/** Why a function keeps a request to itself, by its registers and the rules it obeys. `""` = it may go. */
export class Gate {
  /** A Translation Request got UR: no more ATS until Enable goes from 0 to 1. */
  stopped = false;
  /** Whether it is plugged in. */
  plugged = true;
  readonly #obeys: Obeys;
  readonly #registers: FunctionRegisters;
  readonly #shared: FunctionRegisters;
  readonly #timer: ResetTimer;
  readonly #siblings: VirtualFunctions | undefined;
  readonly #index: number;

  /**
   * @param shared registers of the PF where this is a VF: PASID is there
   * @param siblings the VFs of that PF, where this is one
   * @param index its place among them
   */
  constructor(
    obeys: Obeys,
    registers: FunctionRegisters,
    shared: FunctionRegisters,
    timer: ResetTimer,
    siblings: VirtualFunctions | undefined,
    index: number,
  ) {
    this.#obeys = obeys;
    this.#registers = registers;
    this.#shared = shared;
    this.#timer = timer;
    this.#siblings = siblings;
    this.#index = index;
  }

  /** Why it cannot say anything at all. */
  silence(): string {
    if (!this.plugged) {
      return "unplugged";
    }
    if (this.#timer.resetting) {
      return "in reset";
    }
    if (this.#timer.retrying) {
      return "not ready";
    }
    return this.vfDisabled ? "VF Enable is 0" : "";
  }

  /** It is a VF, and its PF has VF Enable = 0 or fewer VFs. */
  get vfDisabled(): boolean {
    return this.#siblings?.disabledAt(this.#index) === true;
  }

  /** Bus Master Enable and the power state. Source: PCIe 6.0 §7.5.1.1.3. */
  master(): string {
    return this.#obeys.busMaster ? this.#registers.masterRefusal : "";
  }

  /** PASID Enable, the width of PASIDs, Execute and Privileged. Source: PCIe 6.0 §6.20, §7.8.9. */
  pasid(pasid: number, flags: number): string {
    if (pasid === NO_PASID || !this.#obeys.pasidEnable) {
      return "";
    }
    if (!this.#shared.pasidEnabled) {
      return "PASID Enable is 0";
    }
    if (pasid >= this.#shared.pasidLimit) {
      return "the PASID is wider than the capability";
    }
    if ((flags & REQUEST_EXECUTE) !== 0 && !this.#shared.pasidExecute) {
      return "Execute Permission Enable is 0";
    }
    return (flags & REQUEST_PRIVILEGED) !== 0 && !this.#shared.pasidPrivileged ? "Privileged Mode Enable is 0" : "";
  }

  /** ATS Enable, and the end of ATS after a UR. */
  ats(): string {
    if (!this.#obeys.enable) {
      return "";
    }
    if (!this.#registers.atsEnabled) {
      return "ATS Enable is 0";
    }
    return this.stopped ? "ATS stopped by a UR" : "";
  }

  /** All that concerns a memory request that is no Translation Request and not Translated. */
  memory(pasid: number, flags: number): string {
    return this.silence() || this.master() || this.pasid(pasid, flags);
  }
}
