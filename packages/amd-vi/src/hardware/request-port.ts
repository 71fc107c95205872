import type { Rid } from "@iommu-lab/pci";
import { AT_TRANSLATED, AT_TRANSLATION_REQUEST, TranslateResult } from "@iommu-lab/pci";
import {
  ERROR_MASTER_ABORT,
  EVENT,
  EVENT_PE,
  EVENT_PR,
  EVENT_RW,
  EVENT_RZ,
  EVENT_TR,
  EVENT_US,
  INVALID_TRANSLATED,
  INVALID_TRANSLATION_REQUEST,
  eventType,
} from "../layout/event.ts";
import { eventName } from "../layout/event-text.ts";
import type { ControlRegister } from "./control-register.ts";
import type { DeviceTable } from "./device-table.ts";
import type { ExclusionRange } from "./exclusion-range.ts";
import type { Fault, FaultReporter, Refusal } from "./fault-reporter.ts";
import type { FetchedDte } from "./fetched-dte.ts";
import type { OpenPoints } from "./open-points.ts";
import { Request } from "./request.ts";
import type { Resolver } from "./resolver.ts";
import { judgeInterrupt, judgeSpecial } from "./special-request.ts";
import { RANGE, rangeOf } from "./special-ranges.ts";

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
  /** IotlbSup: without it I of a DTE counts as 0. */
  readonly iotlbSup: boolean;
  /** FD_0000_0000 … FF_FFFF_FFFF has the meanings of HyperTransport (no HtRangeIgnore). */
  readonly hyperTransport: boolean;
  /** HtAtsResv. */
  readonly addressTranslationReserved: boolean;
}

/** INVALID_DEVICE_REQUEST of a Translation Request that no DTE allows; this event has no RW. */
const UNANSWERED = EVENT_TR | eventType(INVALID_TRANSLATION_REQUEST);

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
    const { control, table, hyperTransport, open } = this.#parts;
    request.set(rid, pasid, page, offset, flags);
    if (!control.enabled) {
      const refused = request.type === AT_TRANSLATION_REQUEST;
      return refused ? this.#result.refuse(open.disabledTranslationRequest, "IommuEn=0", false) : this.#pass();
    }
    const range = request.hasPasid ? RANGE.memory : rangeOf(page, hyperTransport);
    const dte = table.fetch(rid);
    if (range === RANGE.interrupt) {
      return this.#interrupt(dte);
    }
    if (dte === undefined) {
      return this.#noEntry();
    }
    if (dte.illegal) {
      const flagsOf = EVENT_RZ | this.#access() | this.#translationFlag();
      return this.#refuse({ code: EVENT.ILLEGAL_DEV_TABLE_ENTRY, flags: flagsOf }, dte);
    }
    if (range !== RANGE.memory) {
      const verdict = judgeSpecial(range, request, dte, this.#parts.addressTranslationReserved);
      if (verdict !== "translate") {
        return verdict === "pass" ? this.#pass() : this.#refuse(verdict, dte);
      }
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
    const { open, exclusion } = this.#parts;
    const request = this.#request;
    if (!dte.valid || exclusion.holds(request.page, dte.exclusion)) {
      return this.#pass();
    }
    if (!dte.translationValid) {
      const silent = open.blockedEvent === "none";
      return this.#refuse({ code: EVENT.IO_PAGE_FAULT, flags: this.#access(), silent }, dte);
    }
    const wrong = this.#wrongEntry(dte);
    if (wrong !== undefined) {
      return this.#refuse(wrong, dte);
    }
    const ok = this.#resolve(dte);
    const { found } = this.#parts.resolver;
    if (!ok) {
      return found.end === "hardware"
        ? this.#tableError(dte, found.line)
        : this.#refuse(this.#pageFault(dte, found.flags, found.line), dte);
    }
    const read = found.read && dte.read;
    const write = found.write && dte.write;
    // Only Mode 0 comes here without permission: walks refuse it.
    if (!(request.write ? write : read) && open.identityPermission !== "ignored") {
      const silent = open.identityPermission === "none";
      return this.#refuse({ ...this.#pageFault(dte, EVENT_PR | EVENT_PE, dte.address), silent }, dte);
    }
    return this.#result.pass(found.page, read, write, found.sizeLog2);
  }

  #translated(dte: FetchedDte): TranslateResult {
    const blocked = !dte.translationValid && this.#parts.open.translatedWhileBlocked === "abort";
    if (!dte.valid || !dte.iotlb || !this.#parts.iotlbSup || blocked) {
      return this.#refuse({ code: EVENT.INVALID_DEVICE_REQUEST, flags: eventType(INVALID_TRANSLATED) }, dte);
    }
    return this.#pass();
  }

  #translationRequest(dte: FetchedDte): TranslateResult {
    const request = this.#request;
    if (!dte.valid || !dte.iotlb || !this.#parts.iotlbSup || !dte.translationValid) {
      return this.#refuse({ code: EVENT.INVALID_DEVICE_REQUEST, flags: UNANSWERED }, dte);
    }
    if (this.#parts.exclusion.holds(request.page, dte.exclusion)) {
      this.#result.pass(request.page, dte.read, dte.write);
      this.#result.untranslatedOnly = true;
      return this.#result;
    }
    const wrong = this.#wrongEntry(dte);
    if (wrong !== undefined) {
      const refusal = wrong.code === EVENT.IO_PAGE_FAULT ? { code: EVENT.INVALID_DEVICE_REQUEST, flags: 0 } : wrong;
      return this.#refuse({ ...refusal, flags: refusal.flags | EVENT_TR }, dte);
    }
    const ok = this.#resolve(dte);
    const { found } = this.#parts.resolver;
    if (found.end === "hardware") {
      return this.#tableError(dte, found.line);
    }
    const answer = this.#result.pass(request.page, false, false);
    if (ok) {
      const write = found.write && dte.write && (request.dirties || found.dirty);
      answer.pass(found.page, found.read && dte.read, write, found.sizeLog2);
      answer.untranslatedOnly = found.untranslatedOnly;
      answer.noSnoop = found.forceCoherent;
      answer.privileged = request.privileged;
    }
    return answer;
  }

  /** A DTE that has no translation for this request: Mode beyond HATS, or a PASID without guest translation. */
  #wrongEntry(dte: FetchedDte): Refusal | undefined {
    const { open, hostLevels } = this.#parts;
    if (dte.mode > hostLevels) {
      const code = open.modeBeyondHats === "IO_PAGE_FAULT" ? EVENT.IO_PAGE_FAULT : EVENT.ILLEGAL_DEV_TABLE_ENTRY;
      const flags = code === EVENT.IO_PAGE_FAULT ? EVENT_PR : EVENT_RZ;
      return { code, flags: flags | this.#access(), silent: open.modeBeyondHats === "none" };
    }
    if (this.#request.hasPasid && !dte.guestValid && open.pasidWithoutGuest === "abort") {
      return { code: EVENT.IO_PAGE_FAULT, flags: this.#access(), pasid: this.#request.pasid };
    }
    return undefined;
  }

  #resolve(dte: FetchedDte): boolean {
    const { resolver } = this.#parts;
    const request = this.#request;
    if (usesGuest(dte, request)) {
      return resolver.translateGuest(dte, request);
    }
    if (dte.mode !== 0) {
      return resolver.translateHost(dte, request);
    }
    resolver.identity(dte, request.page);
    return true;
  }

  #pageFault(dte: FetchedDte, flags: number, line: number): Refusal {
    const guest = usesGuest(dte, this.#request);
    const user = guest && !this.#request.privileged ? EVENT_US : 0;
    const who = guest ? { pasid: this.#request.pasid } : {};
    return { code: EVENT.IO_PAGE_FAULT, flags: flags | user | this.#access(), line, ...who };
  }

  #tableError(dte: FetchedDte, line: number): TranslateResult {
    const flags = eventType(ERROR_MASTER_ABORT) | this.#access() | this.#translationFlag();
    const pasid = usesGuest(dte, this.#request) ? { pasid: this.#request.pasid } : {};
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

  #interrupt(dte: FetchedDte | undefined): TranslateResult {
    const { table } = this.#parts;
    const verdict = judgeInterrupt(this.#request, dte, dte === undefined ? "" : table.interruptProblem(dte));
    if (verdict === "no-entry") {
      return this.#noEntry();
    }
    return verdict === "pass" ? this.#pass() : this.#refuse(verdict, dte);
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
      domainId: refusal.code === EVENT.IO_PAGE_FAULT ? (dte?.domainId ?? 0) : 0,
      pasid: carried,
      line: dte?.address ?? this.#parts.table.failureAddress,
      ...refusal,
    };
    const recorded = this.#parts.reporter.report(this.#request, fault, dte);
    return this.#result.refuse("CA", eventName(refusal.code), recorded);
  }
}

/** GV counts for requests with PASID, and through GIoV for those without. */
function usesGuest(dte: FetchedDte, request: Request): boolean {
  return dte.guestValid && (request.hasPasid || dte.guestIo);
}
