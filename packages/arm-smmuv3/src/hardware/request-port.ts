import type { PhysicalMemory, Trace } from "@iommu-lab/core";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, type Rid, TranslateResult } from "@iommu-lab/pci";
import { EVENT, eventName } from "../layout/event-record.ts";
import type { Identification } from "../layout/id-registers.ts";
import { EATS, STE_CONFIG } from "../layout/stream-table-entry.ts";
import type { ConfigCache } from "./config-cache.ts";
import { ConfigLookup } from "./config-lookup.ts";
import type { Control } from "./control.ts";
import { FaultReporter } from "./fault-reporter.ts";
import type { IoTlb } from "./io-tlb.ts";
import type { RecordQueue } from "./record-queue.ts";
import { Request } from "./request.ts";
import { effectiveEats } from "./stream-entry.ts";
import { ABORTS, BYPASSES, StreamJudge } from "./stream-judge.ts";
import { PERMIT_EXECUTE, PERMIT_READ, PERMIT_WRITE, permissions } from "./translation.ts";
import { Translator, isTranslationFault } from "./translator.ts";

/** What judges requests. */
export interface RequestPortParts {
  readonly name: string;
  readonly memory: PhysicalMemory;
  readonly trace: Trace;
  readonly id: Identification;
  readonly control: Control;
  readonly configs: ConfigCache;
  readonly tlb: IoTlb;
  readonly events: RecordQueue;
  /** StreamID of a requester ID. */
  readonly streamIdOf: (rid: Rid) => number;
}

/**
 * The fate of every memory request: Untranslated, Translation Request, Translated. Judging one is atomic, and allocates
 * nothing while caches hit and nobody listens.
 *
 * A transaction that is terminated with abort is answered UR here; on PCIe the root complex makes UR or CA of it.
 *
 * Source: SMMUv3 §3.9, §3.12, §7.3, §13.6, §13.7.
 */
export class RequestPort {
  readonly #id: Identification;
  readonly #control: Control;
  readonly #judge: StreamJudge;
  readonly #translator: Translator;
  readonly #faults: FaultReporter;
  readonly #streamIdOf: (rid: Rid) => number;
  readonly #request = new Request();
  readonly #result = new TranslateResult();

  constructor(parts: RequestPortParts) {
    this.#id = parts.id;
    this.#control = parts.control;
    this.#judge = new StreamJudge(new ConfigLookup(parts.memory, parts.id, parts.control, parts.configs), parts.id);
    this.#translator = new Translator(parts.memory, parts.tlb);
    this.#faults = new FaultReporter(parts.name, parts.memory, parts.trace, parts.events);
    this.#streamIdOf = parts.streamIdOf;
  }

  /** Judges one request. See {@link IommuHardware.translate}. */
  translate(rid: Rid, pasid: number, page: number, offset: number, flags: number): TranslateResult {
    const request = this.#request;
    request.set(rid, this.#streamIdOf(rid), pasid, page, offset, flags);
    switch (request.type) {
      case AT_TRANSLATION_REQUEST:
        return this.#translationRequest(request);
      case AT_TRANSLATED:
        return this.#translated(request);
      default:
        return this.#untranslated(request);
    }
  }

  /** Source: SMMUv3 §3.4, §7.3.22. */
  #untranslated(request: Request): TranslateResult {
    if (!this.#control.enabled) {
      return this.#whileOff(request);
    }
    const stream = this.#judge.stream(request);
    if (stream === ABORTS) {
      return this.#silent(request, "STE.Config=abort");
    }
    if (stream !== 0) {
      return this.#abort(request, stream, stream !== EVENT.C_BAD_STREAMID || this.#control.recordsBadStreamId);
    }
    const substream = this.#judge.substream(request.pasid);
    if (substream === BYPASSES) {
      return this.#beyondOutput(request.page)
        ? this.#abort(request, EVENT.F_ADDR_SIZE, true)
        : this.#result.pass(request.page, true, true);
    }
    const event = substream === 0 ? this.#judge.context(request) : substream;
    return event === 0 ? this.#access(request) : this.#abort(request, event, true);
  }

  /** GBPA rules. Source: SMMUv3 §3.11. */
  #whileOff(request: Request): TranslateResult {
    if (this.#control.abortsWhenOff || this.#beyondOutput(request.page)) {
      return this.#silent(request, this.#control.abortsWhenOff ? "GBPA.ABORT" : "address beyond OAS");
    }
    return this.#result.pass(request.page, true, true);
  }

  #access(request: Request): TranslateResult {
    const { streamEntry, contextEntry } = this.#judge;
    request.override(streamEntry, this.#id);
    const event = this.#translator.find(streamEntry, contextEntry, request.page, request.write);
    if (event !== 0) {
      return this.#translationFault(request, event);
    }
    const need = request.write ? PERMIT_WRITE : request.instruction ? PERMIT_EXECUTE : PERMIT_READ;
    const { found } = this.#translator;
    const granted = found === undefined ? 0 : permissions(found, contextEntry, streamEntry.world, request.privileged);
    if (found === undefined || (granted & need) === 0) {
      return this.#translationFault(request, EVENT.F_PERMISSION);
    }
    this.#translator.use(streamEntry, contextEntry, request.write);
    return this.#result.pass(found.target + (request.page - found.page), true, true, found.sizeLog2);
  }

  /** CD.R decides about the record. An external abort of the walk is always recorded. */
  #translationFault(request: Request, event: number): TranslateResult {
    const { records } = this.#judge.contextEntry;
    return this.#abortAt(request, event, this.#translator.descriptor, records || !isTranslationFault(event));
  }

  /** Source: SMMUv3 §3.9.1, §13.6, §13.7. */
  #translationRequest(request: Request): TranslateResult {
    if (!this.#control.enabled) {
      return this.#unsupported(request, 0);
    }
    const stream = this.#judge.stream(request);
    if (stream === ABORTS) {
      this.#faults.silent(request, "STE.Config=abort", this.#judge.address);
      return this.#result.refuse("UR", "STE.Config=abort", false);
    }
    if (stream !== 0) {
      return this.#completerAbort(
        request,
        stream,
        stream !== EVENT.C_BAD_STREAMID || this.#control.recordsBadStreamId,
        this.#judge.address,
      );
    }
    if (effectiveEats(this.#judge.streamEntry, this.#id) === EATS.off) {
      return this.#unsupported(request, this.#judge.address);
    }
    const substream = this.#judge.substream(request.pasid);
    if (substream === BYPASSES) {
      return this.#identity(request);
    }
    const event = substream === 0 ? this.#judge.context(request) : substream;
    return event === 0 ? this.#completion(request) : this.#completerAbort(request, event, true, this.#judge.address);
  }

  /** Full ATS that skips stage 1: an identity translation. Source: SMMUv3 §13.6.4. */
  #identity(request: Request): TranslateResult {
    return this.#beyondOutput(request.page) ? this.#result.reset() : this.#result.pass(request.page, true, true);
  }

  /** A Success, with what the tables grant. Source: SMMUv3 §13.7.1. */
  #completion(request: Request): TranslateResult {
    const { streamEntry, contextEntry } = this.#judge;
    const result = this.#result;
    request.override(streamEntry, this.#id);
    const event = this.#translator.find(streamEntry, contextEntry, request.page, !request.noWrite);
    if (event === EVENT.F_WALK_EABT) {
      return this.#completerAbort(request, event, true, this.#translator.descriptor);
    }
    const { found } = this.#translator;
    const granted =
      event !== 0 || found === undefined ? 0 : permissions(found, contextEntry, streamEntry.world, request.privileged);
    if (found === undefined || (granted & (PERMIT_READ | PERMIT_WRITE)) === 0) {
      result.reset();
    } else {
      const used = this.#translator.use(streamEntry, contextEntry, !request.noWrite && (granted & PERMIT_WRITE) !== 0);
      const page = used.target + (request.page - used.page);
      result.pass(page, true, (granted & PERMIT_WRITE) !== 0 && !used.clean, used.sizeLog2);
      result.execute = request.execRequested && (granted & PERMIT_EXECUTE) !== 0;
      result.cxlIo = request.sourceCxl && !used.coherent;
    }
    result.privileged = request.privRequested;
    return result;
  }

  /** Source: SMMUv3 §3.9.1.3. */
  #translated(request: Request): TranslateResult {
    if (!this.#control.enabled) {
      return this.#abortAt(request, EVENT.F_TRANSL_FORBIDDEN, 0, true);
    }
    if (this.#control.checksTranslated) {
      const stream = this.#judge.stream(request);
      if (stream === ABORTS) {
        return this.#silent(request, "STE.Config=abort");
      }
      const event = stream === 0 ? this.#forbids(request) : stream;
      if (event !== 0) {
        return this.#abort(request, event, event === EVENT.F_TRANSL_FORBIDDEN || this.#control.recordsAtsErrors);
      }
    }
    // Beyond the output size an implementation may abort or truncate; this one aborts.
    return this.#beyondOutput(request.page)
      ? this.#silent(request, "address beyond OAS")
      : this.#result.pass(request.page, true, true);
  }

  /** What a valid stream says against a Translated request. The PASID counts with PASIDTT alone. @returns 0 or an event */
  #forbids(request: Request): number {
    const entry = this.#judge.streamEntry;
    if (entry.config === STE_CONFIG.bypass || effectiveEats(entry, this.#id) === EATS.off) {
      return EVENT.F_TRANSL_FORBIDDEN;
    }
    if (!this.#id.pasidOnTranslated) {
      return 0;
    }
    const event = this.#judge.substream(request.pasid);
    return event === BYPASSES ? 0 : event;
  }

  #unsupported(request: Request, address: number): TranslateResult {
    const recorded = this.#faults.report(request, EVENT.F_BAD_ATS_TREQ, address, true);
    return this.#result.refuse("UR", "F_BAD_ATS_TREQ", recorded);
  }

  /** Errors of the configuration are recorded for ATS only with REC_CFG_ATS. */
  #completerAbort(request: Request, event: number, record: boolean, address: number): TranslateResult {
    const recorded = this.#faults.report(request, event, address, record && this.#control.recordsAtsErrors);
    return this.#result.refuse("CA", eventName(event), recorded);
  }

  #abort(request: Request, event: number, record: boolean): TranslateResult {
    return this.#abortAt(request, event, this.#judge.address, record);
  }

  #abortAt(request: Request, event: number, address: number, record: boolean): TranslateResult {
    const recorded = this.#faults.report(request, event, address, record);
    return this.#result.refuse("UR", eventName(event), recorded);
  }

  #silent(request: Request, name: string): TranslateResult {
    this.#faults.silent(request, name, this.#control.enabled ? this.#judge.address : 0);
    return this.#result.refuse("UR", name, false);
  }

  #beyondOutput(page: number): boolean {
    return page >= 2 ** (this.#id.oas - 12);
  }
}
