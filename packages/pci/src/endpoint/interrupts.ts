import type { Digest, Trace } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import type { ConfigSpace } from "../config-space/config-space.ts";
import type { DmaResult } from "../fabric/outcome.ts";
import { Msi } from "./msi.ts";
import { type InterruptMessage, MsixTable } from "./msix-table.ts";

/** What became of an interrupt. */
export interface InterruptResult {
  /** `sent` = the message left; `pending` = the vector is masked; `not-sent` = the function may not, or MSI is off. */
  readonly what: "sent" | "pending" | "not-sent";
  /** Why it was not sent; `""` when it was. */
  readonly reason: string;
  /** What became of the message, when it was sent: `success` or why not. */
  readonly status: string;
}

/** Writes a message. @param translated with an address from the ATC where it has one */
export type WriteMessage = (message: InterruptMessage, translated: boolean) => DmaResult;

/**
 * Message-signalled interrupts of a function, by MSI-X where that is on, else by MSI. A masked vector becomes pending and
 * goes out when it is unmasked.
 *
 * Source: PCIe 6.0 §6.1.4; the write may carry a translated address like any other (§10.1).
 */
export class Interrupts {
  /** Whether messages use translations. Not at first: most functions send them Untranslated. */
  translated = false;
  /** MSI-X table and Pending Bit Array. */
  readonly msix: MsixTable;
  readonly #device: string;
  readonly #trace: Trace;
  readonly #msi: Msi;
  readonly #write: WriteMessage;

  constructor(device: string, config: ConfigSpace, trace: Trace, write: WriteMessage) {
    this.#device = device;
    this.#trace = trace;
    this.#msi = new Msi(config);
    this.msix = new MsixTable(config, (vector) => {
      this.#flush(vector);
    });
    this.#write = write;
  }

  /**
   * Signals a vector.
   *
   * @throws InputError for a vector that the function does not have
   */
  signal(vector: number): InterruptResult {
    const source = this.#source();
    if (source === undefined) {
      return { what: "not-sent", reason: "neither MSI-X nor MSI is enabled", status: "" };
    }
    const count = source === this.msix ? this.msix.size : this.#msi.vectors;
    if (!Number.isInteger(vector) || vector < 0 || vector >= count) {
      throw new InputError(`${this.#device} has no vector ${vector}, expected 0 to ${count - 1}`);
    }
    if (source.masked(vector)) {
      source.setPending(vector, true);
      return { what: "pending", reason: "the vector is masked", status: "" };
    }
    return this.#send(source.message(vector));
  }

  /** Software wrote to config space: what is not masked any more goes out. */
  registersChanged(): void {
    const source = this.#source();
    const count = source === undefined ? 0 : source === this.msix ? this.msix.size : this.#msi.vectors;
    for (let vector = 0; vector < count; vector += 1) {
      this.#flush(vector);
    }
  }

  /** A reset of the function. */
  reset(): void {
    this.msix.reset();
  }

  /** Writes the table. */
  digest(into: Digest): void {
    into.number(this.translated ? 1 : 0);
    this.msix.digest(into);
  }

  /** Tells the trace about a message. @returns the result again */
  told(page: number, result: DmaResult): DmaResult {
    if (this.#trace.active) {
      const outcome = result.sent ? result.status : "not-sent";
      this.#trace.emit("msi", { device: this.#device, page, result: outcome }, result.event);
    }
    return result;
  }

  #source(): Msi | MsixTable | undefined {
    if (this.msix.enabled) {
      return this.msix;
    }
    return this.#msi.enabled ? this.#msi : undefined;
  }

  #flush(vector: number): void {
    const source = this.#source();
    if (source?.pending(vector) === true && !source.masked(vector)) {
      const { what } = this.#send(source.message(vector));
      if (what === "sent") {
        source.setPending(vector, false);
      }
    }
  }

  #send(message: InterruptMessage): InterruptResult {
    const result = this.told(message.page, this.#write(message, this.translated));
    return result.sent
      ? { what: "sent", reason: "", status: result.status }
      : { what: "not-sent", reason: result.reason, status: "" };
  }
}
