import type { Rid } from "@iommu-lab/pci";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, TranslateResult } from "@iommu-lab/pci";
import type { DeviceTableEntry } from "../layout/device-table-entry.ts";
import { INT_CTL_ABORT } from "../layout/device-table-entry.ts";
import { eventName } from "../layout/event-text.ts";
import {
  ERROR_MASTER_ABORT,
  EVENT,
  EVENT_I,
  EVENT_PE,
  EVENT_PR,
  EVENT_RW,
  EVENT_RZ,
  EVENT_TR,
  EVENT_US,
  INVALID_INTERRUPT,
  INVALID_INTERRUPT_READ,
  INVALID_TRANSLATED,
  INVALID_TRANSLATION_RANGE,
  INVALID_TRANSLATION_REQUEST,
  eventType,
} from "../layout/event.ts";
import type { ControlRegister } from "./control-register.ts";
import type { DeviceTable, FetchedDte } from "./device-table.ts";
import type { ExclusionRange } from "./exclusion-range.ts";
import type { Fault, FaultReporter } from "./fault-reporter.ts";
import type { OpenPoints } from "./open-points.ts";
import { Request } from "./request.ts";
import type { Resolver } from "./resolver.ts";

/** What judging a request needs. */
export interface RequestPortParts {
  readonly control: ControlRegister;
  readonly table: DeviceTable;
  readonly resolver: Resolver;
  readonly exclusion: ExclusionRange;
  readonly reporter: FaultReporter;
  readonly open: OpenPoints;
  /** Host levels that HATS allows. */
  readonly hostLevels: number;
}

/** INVALID_DEVICE_REQUEST of a Translation Request that no DTE allows; this event has no RW. */
const UNANSWERED = EVENT_TR | eventType(INVALID_TRANSLATION_REQUEST);

type Refusal = Pick<Fault, "code" | "flags"> & Partial<Fault>;

/**
 * Judges memory requests by their class: Untranslated requests are translated or refused, Translation Requests answered,
 * Translated requests passed or refused by V and I of the DTE alone. A refused request ends with Completer Abort (the
 * specification's target abort).
 *
 * Source: AMD IOMMU specification §2.2.2.1, §2.2.4, §2.5.9; fields I, IR, IW, Mode, GV, GIoV.
 */
export class RequestPort {
  readonly #parts: RequestPortParts;
  readonly #request = new Request();
  readonly #result = new TranslateResult();

  constructor(parts: RequestPortParts) {
    this.#parts = parts;
  }

  /** See `IommuHardware.translate`. */
  translate(rid: Rid, pasid: number, page: number, offset: number, flags: number): TranslateResult {
    const request = this.#request;
    request.set(rid, pasid, page, offset, flags);
    if (!this.#parts.control.enabled) {
      const refused = request.type === AT_TRANSLATION_REQUEST;
      return refused ? this.#result.refuse("UR", "IommuEn=0", false) : this.#pass();
    }
    if (request.toInterruptRange) {
      return this.#interruptRange();
    }
    const dte = this.#parts.table.fetch(rid);
    if (dte === undefined) {
      return this.#noEntry();
    }
    if (dte.illegal) {
      return this.#refuse({ code: EVENT.ILLEGAL_DEV_TABLE_ENTRY, flags: EVENT_RZ | this.#access() }, dte);
    }
    switch (request.type) {
      case AT_TRANSLATION_REQUEST:
        return this.#translationRequest(dte);
      case AT_TRANSLATED:
        return this.#translated(dte);
      default:
        return this.#untranslated(dte);
    }
  }

  #untranslated(dte: FetchedDte): TranslateResult {
    const { entry } = dte;
    const { open, exclusion } = this.#parts;
    const request = this.#request;
    if (!entry.valid || exclusion.holds(request.page, entry.exclusion)) {
      return this.#pass();
    }
    if (!entry.translationValid) {
      const silent = open.blockedEvent === "none";
      return this.#refuse({ code: EVENT.IO_PAGE_FAULT, flags: this.#access(), silent }, dte);
    }
    const wrong = this.#wrongEntry(entry);
    if (wrong !== undefined) {
      return this.#refuse(wrong, dte);
    }
    this.#resolve(entry);
    const { result } = this.#parts.resolver;
    if (result.end === "hardware") {
      return this.#tableError(dte, result.line);
    }
    if (result.end === "fault") {
      return this.#refuse(this.#pageFault(entry, result.flags, result.line), dte);
    }
    if (!(request.write ? result.write : result.read) && open.identityPermission !== "ignored") {
      const silent = open.identityPermission === "none";
      return this.#refuse({ ...this.#pageFault(entry, EVENT_PR | EVENT_PE, dte.address), silent }, dte);
    }
    return this.#result.pass(result.page, result.read, result.write, result.sizeLog2);
  }

  #translated(dte: FetchedDte): TranslateResult {
    const { valid, iotlb, translationValid } = dte.entry;
    const blocked = !translationValid && this.#parts.open.translatedWhileBlocked === "abort";
    if (!valid || !iotlb || blocked) {
      return this.#refuse({ code: EVENT.INVALID_DEVICE_REQUEST, flags: eventType(INVALID_TRANSLATED) }, dte);
    }
    return this.#pass();
  }

  #translationRequest(dte: FetchedDte): TranslateResult {
    const { entry } = dte;
    const request = this.#request;
    if (!entry.valid || !entry.iotlb || !entry.translationValid) {
      return this.#refuse({ code: EVENT.INVALID_DEVICE_REQUEST, flags: UNANSWERED }, dte);
    }
    if (this.#parts.exclusion.holds(request.page, entry.exclusion)) {
      this.#result.pass(request.page, entry.read, entry.write);
      this.#result.untranslatedOnly = true;
      return this.#result;
    }
    const wrong = this.#wrongEntry(entry);
    if (wrong !== undefined) {
      const refusal = wrong.code === EVENT.IO_PAGE_FAULT ? { code: EVENT.INVALID_DEVICE_REQUEST, flags: 0 } : wrong;
      return this.#refuse({ ...refusal, flags: refusal.flags | EVENT_TR }, dte);
    }
    this.#resolve(entry);
    const { result } = this.#parts.resolver;
    if (result.end === "hardware") {
      return this.#tableError(dte, result.line);
    }
    const answer = this.#result.pass(request.page, false, false);
    if (result.end === "found") {
      answer.pass(result.page, result.read, result.write, result.sizeLog2);
      answer.untranslatedOnly = result.untranslatedOnly;
      answer.noSnoop = result.forceCoherent;
      answer.privileged = request.privileged;
    }
    return answer;
  }

  /** A DTE that has no translation for this request: Mode beyond HATS, or a PASID without guest translation. */
  #wrongEntry(entry: DeviceTableEntry): Refusal | undefined {
    const { open, hostLevels } = this.#parts;
    if (entry.mode > hostLevels) {
      const code = open.modeBeyondHats === "IO_PAGE_FAULT" ? EVENT.IO_PAGE_FAULT : EVENT.ILLEGAL_DEV_TABLE_ENTRY;
      const flags = code === EVENT.IO_PAGE_FAULT ? EVENT_PR : EVENT_RZ;
      return { code, flags: flags | this.#access(), silent: open.modeBeyondHats === "none" };
    }
    if (this.#request.hasPasid && !entry.guestValid && open.pasidWithoutGuest === "abort") {
      return { code: EVENT.IO_PAGE_FAULT, flags: this.#access(), pasid: this.#request.pasid };
    }
    return undefined;
  }

  #resolve(entry: DeviceTableEntry): void {
    const { resolver } = this.#parts;
    const request = this.#request;
    const guest = usesGuest(entry, request);
    if (!guest && entry.mode === 0) {
      resolver.identity(entry, request.page);
    } else {
      resolver.translate(entry, request, guest);
    }
  }

  #pageFault(entry: DeviceTableEntry, flags: number, line: number): Refusal {
    const guest = usesGuest(entry, this.#request);
    const user = guest && !this.#request.privileged ? EVENT_US : 0;
    const who = guest ? { pasid: this.#request.pasid } : {};
    return { code: EVENT.IO_PAGE_FAULT, flags: flags | user | this.#access(), line, ...who };
  }

  #tableError(dte: FetchedDte, line: number): TranslateResult {
    const flags = eventType(ERROR_MASTER_ABORT) | this.#access() | this.#translationFlag();
    const pasid = usesGuest(dte.entry, this.#request) ? { pasid: this.#request.pasid } : {};
    return this.#refuse({ code: EVENT.PAGE_TAB_HARDWARE_ERROR, flags, line, address: line, ...pasid }, dte);
  }

  #noEntry(): TranslateResult {
    const { failure, failureAddress } = this.#parts.table;
    if (failure === "beyond") {
      return this.#request.type === AT_TRANSLATION_REQUEST
        ? this.#refuse({ code: EVENT.INVALID_DEVICE_REQUEST, flags: UNANSWERED }, undefined)
        : this.#refuse({ code: EVENT.IO_PAGE_FAULT, flags: this.#access() }, undefined);
    }
    const flags = eventType(ERROR_MASTER_ABORT) | this.#access() | this.#translationFlag();
    return this.#refuse({ code: EVENT.DEV_TAB_HARDWARE_ERROR, flags, address: failureAddress }, undefined);
  }

  /**
   * FEE0_0000 … FEEF_FFFF: writes are interrupts whatever their class, and the interrupt half of the DTE decides. Remapping
   * tables are not modelled: with IntCtl=2 the message passes as it is.
   *
   * Source: AMD IOMMU specification §2.2.2.1 (IV, IntCtl), §2.2.5.
   */
  #interruptRange(): TranslateResult {
    const request = this.#request;
    const code = EVENT.INVALID_DEVICE_REQUEST;
    if (request.type === AT_TRANSLATION_REQUEST) {
      return this.#refuse({ code, flags: EVENT_TR | eventType(INVALID_TRANSLATION_RANGE) }, undefined);
    }
    if (!request.write) {
      return this.#refuse({ code, flags: eventType(INVALID_INTERRUPT_READ) }, undefined);
    }
    const dte = this.#parts.table.fetch(request.rid);
    if (dte === undefined) {
      return this.#noEntry();
    }
    const { interruptValid, interruptControl } = dte.entry;
    if (interruptValid && interruptControl === INT_CTL_ABORT) {
      return this.#refuse({ code, flags: eventType(INVALID_INTERRUPT) }, dte);
    }
    if (interruptValid && interruptControl === 3) {
      return this.#refuse({ code: EVENT.ILLEGAL_DEV_TABLE_ENTRY, flags: EVENT_RZ | EVENT_I | EVENT_RW }, dte);
    }
    return this.#pass();
  }

  /** RW of an event. */
  #access(): number {
    return this.#request.write ? EVENT_RW : 0;
  }

  #translationFlag(): number {
    return this.#request.type === AT_TRANSLATION_REQUEST ? EVENT_TR : 0;
  }

  #pass(): TranslateResult {
    return this.#result.pass(this.#request.page, true, true);
  }

  #refuse(refusal: Refusal, dte: FetchedDte | undefined): TranslateResult {
    const carried = this.#request.hasPasid ? this.#request.pasid : undefined;
    const fault: Fault = {
      domainId: refusal.code === EVENT.IO_PAGE_FAULT ? (dte?.entry.domainId ?? 0) : 0,
      pasid: carried,
      line: dte?.address ?? this.#parts.table.failureAddress,
      ...refusal,
    };
    const recorded = this.#parts.reporter.report(this.#request, fault, dte);
    return this.#result.refuse("CA", eventName(refusal.code), recorded);
  }
}

/** GV counts for requests with PASID, and through GIoV for those without. */
function usesGuest(entry: DeviceTableEntry, request: Request): boolean {
  return entry.guestValid && (request.hasPasid || entry.guestIo);
}
