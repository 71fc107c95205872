import type { PhysicalMemory, Trace } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";
import { CXL_DVSEC_DEVICE, DVSEC_VENDOR_CXL, DmaResult, type Endpoint, NO_PASID } from "@iommu-lab/pci";

const PAGE = 4096;
const CONTROL = 0xc;
const CONTROL2 = 0x10;
const CACHE_ENABLE = 1;
const DISABLE_CACHING = 1;

/**
 * The CXL.cache agent of an endpoint. Its requests carry a host physical address and nothing that an IOMMU could check;
 * none sees them. An honest agent takes the address from the endpoint's ATC, or from a Translation Request with
 * Source-CXL; what a hostile one sends stops at Cache_Enable alone.
 *
 * Source: CXL 3.1 §3.2.5.13; SMMUv3 §3.9.3.
 */
export class CxlCache {
  readonly #endpoint: Endpoint;
  readonly #memory: PhysicalMemory;
  readonly #trace: Trace;
  readonly #dvsec: number;
  readonly #result = new DmaResult();

  /** @throws InputError when the endpoint has no CXL device DVSEC */
  constructor(endpoint: Endpoint, memory: PhysicalMemory, trace: Trace) {
    this.#endpoint = endpoint;
    this.#memory = memory;
    this.#trace = trace;
    this.#dvsec = endpoint.config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_DEVICE);
    if (this.#dvsec === 0) {
      throw new InputError(`${endpoint.name} has no CXL device DVSEC`);
    }
  }

  /** Cache_Enable as its register says. */
  get enabled(): boolean {
    return (this.#endpoint.config.read8(this.#dvsec + CONTROL) & CACHE_ENABLE) !== 0;
  }

  /**
   * Reads 4 bytes of memory.
   *
   * @param page page number, translated by the endpoint's ATC or a Translation Request
   * @param offset multiple of 4 below 4096
   * @returns a reused object; `sent` is false without Cache_Enable or without a translation
   */
  read(page: number, offset: number, pasid: number = NO_PASID): DmaResult {
    return this.#access(page, offset, undefined, pasid);
  }

  /** Writes 4 bytes of memory. */
  write(page: number, offset: number, value: number, pasid: number = NO_PASID): DmaResult {
    return this.#access(page, offset, value, pasid);
  }

  /**
   * A hostile device's write with a host page that it was once given: whether the translation still holds, and whether
   * ATS is on, makes no difference. A Function Level Reset under way makes none either, as it leaves CXL.cache alone
   * (unconfirmed).
   */
  replay(hostPage: number, offset: number, value: number): DmaResult {
    const refusal = this.#refusal();
    return refusal === "" ? this.#reach(hostPage, offset, value) : this.#withhold(hostPage, value, refusal);
  }

  #access(page: number, offset: number, value: number | undefined, pasid: number): DmaResult {
    const refusal = this.#refusal() || this.#honestRefusal();
    if (refusal !== "") {
      return this.#withhold(page, value, refusal);
    }
    const isWrite = value !== undefined;
    const { atc, obeys } = this.#endpoint;
    let hit = atc.lookup(page, pasid);
    if (hit === undefined || !(isWrite ? hit.write : hit.read)) {
      const answer = this.#endpoint.translationRequest(page, pasid, { sourceCxl: true, noWrite: !isWrite });
      if (!answer.cached) {
        return this.#withhold(page, value, answer.sent ? "no translation" : answer.reason);
      }
      hit = atc.lookup(page, pasid);
    }
    if (hit === undefined || !(isWrite ? hit.write : hit.read)) {
      return this.#withhold(page, value, "the translation lacks the permission");
    }
    if (hit.cxlIo || (hit.untranslatedOnly && obeys.untranslatedOnly)) {
      return this.#withhold(page, value, "the page must be accessed through CXL.io");
    }
    return this.#reach(hit.host, offset, value);
  }

  /** What stops any device. */
  #refusal(): string {
    if (!this.#endpoint.present()) {
      return "unplugged";
    }
    return this.enabled ? "" : "Cache_Enable is 0";
  }

  /** What stops a device that keeps the rules. */
  #honestRefusal(): string {
    if ((this.#endpoint.config.read8(this.#dvsec + CONTROL2) & DISABLE_CACHING) !== 0) {
      return "Disable_Caching is 1";
    }
    return this.#endpoint.atsRefusal;
  }

  #reach(host: number, offset: number, value: number | undefined): DmaResult {
    if (offset % 4 !== 0 || offset < 0 || offset >= PAGE) {
      throw new InputError(`offset ${offset} is no multiple of 4 below ${PAGE}`);
    }
    const result = this.#result.reset();
    const address = host * PAGE + offset;
    if (!this.#memory.exists(address)) {
      result.status = "master-abort";
    } else if (value === undefined) {
      result.value = this.#memory.load32(address);
    } else {
      this.#memory.store32(address, value);
    }
    this.#tell(host, value, result.status);
    if (value !== undefined && result.status === "success") {
      this.#memory.noteWriter(address, result.event);
    }
    return result;
  }

  #withhold(page: number, value: number | undefined, reason: string): DmaResult {
    this.#result.withhold(reason);
    this.#tell(page, value, "not-sent");
    return this.#result;
  }

  #tell(page: number, value: number | undefined, result: string): void {
    if (this.#trace.active) {
      const fields = { device: this.#endpoint.name, page, write: value !== undefined, result };
      this.#result.event = this.#trace.emit("cxl:cache", fields);
    }
  }
}
