import type { Clock, Trace } from "@iommu-lab/core";
import { TranslationResult } from "../fabric/outcome.ts";
import { NO_PASID } from "../fabric/request.ts";
import type { Atc } from "./atc.ts";
import type { Choices } from "./choices.ts";
import type { Gate } from "./gate.ts";
import { pasidField } from "./invalidation-queue.ts";
import type { FunctionRegisters } from "./function-registers.ts";
import type { Sender } from "./sender.ts";
import type { PastTranslation } from "./translations.ts";

/** Asks for translations and puts the answers into the ATC. Source: PCIe 6.0 §10.2. */
export class Translator {
  /** Every translation that came, oldest first. */
  readonly history: PastTranslation[] = [];
  readonly #device: string;
  readonly #sender: Sender;
  readonly #gate: Gate;
  readonly #atc: Atc;
  readonly #shared: FunctionRegisters;
  readonly #choices: Choices;
  readonly #clock: Clock;
  readonly #trace: Trace;
  readonly #result = new TranslationResult();

  /** @param shared registers of the PF where this is a VF: the STU is there */
  constructor(
    device: string,
    sender: Sender,
    gate: Gate,
    atc: Atc,
    shared: FunctionRegisters,
    choices: Choices,
    clock: Clock,
    trace: Trace,
  ) {
    this.#device = device;
    this.#sender = sender;
    this.#gate = gate;
    this.#atc = atc;
    this.#shared = shared;
    this.#choices = choices;
    this.#clock = clock;
    this.#trace = trace;
  }

  /** Asks and takes the answer at once. @returns a reused object */
  request(page: number, pasid: number, flags: number): TranslationResult {
    const result = this.#result;
    if (this.ask(page, pasid, flags, result)) {
      this.take(result, pasid);
    }
    return result;
  }

  /** Asks; the answer is not used yet. @returns false when the request stayed here */
  ask(page: number, pasid: number, flags: number, into: TranslationResult): boolean {
    const reason = this.#sender.translationRefusal(flags, pasid);
    if (reason !== "") {
      into.withhold(page, reason);
      return false;
    }
    const base = page - (page % 2 ** this.#shared.stu);
    this.#sender.translation(base, flags, pasid, into);
    into.page = page;
    into.host += page - base;
    return true;
  }

  /**
   * Uses an answer. A Success with a permission goes into the ATC; a range below the STU counts as UR; UR ends ATS. Any
   * other end leaves ATS as it is.
   *
   * Source: PCIe 6.0 §10.2.3.
   */
  take(result: TranslationResult, pasid: number): void {
    if (result.status === "success" && (result.read || result.write)) {
      if (result.sizeLog2 < 12 + this.#shared.stu) {
        result.status = "UR";
        result.fault = "translation smaller than the STU";
      } else {
        this.#cache(result, pasid);
      }
    }
    if (result.status === "UR") {
      this.#gate.stopped = true;
    }
  }

  #cache(result: TranslationResult, pasid: number): void {
    if (pasid === NO_PASID) {
      result.execute = false;
      result.privileged = false;
      result.global = false;
    }
    const time = this.#clock.now;
    this.#atc.insert(result, pasid, time, this.#choices.atcCapacity);
    result.cached = true;
    const { page, host, sizeLog2, read, write, event } = result;
    this.history.push({ page, pasid, host, sizeLog2, read, write, event, time });
    if (this.#trace.active) {
      const entries = this.#atc.size;
      this.#trace.emit("atc", { device: this.#device, what: "fill", page, ...pasidField(pasid), entries }, event);
    }
  }
}
