import { AT_TRANSLATION_REQUEST } from "@iommu-lab/pci";
import { INT_CTL_ABORT } from "../layout/device-table-entry.ts";
import {
  EVENT,
  EVENT_I,
  EVENT_RW,
  EVENT_RZ,
  EVENT_TR,
  INVALID_INTERRUPT,
  INVALID_INTERRUPT_READ,
  INVALID_MANAGEMENT_READ,
  INVALID_MANAGEMENT_WRITE,
  INVALID_PORT_IO,
  INVALID_RESERVED_INTERRUPT,
  INVALID_TRANSLATION_RANGE,
  INVALID_UNTRANSLATABLE,
  eventType,
} from "../layout/event.ts";
import type { Refusal } from "./fault-reporter.ts";
import type { FetchedDte } from "./fetched-dte.ts";
import type { Request } from "./request.ts";
import type { Range } from "./special-ranges.ts";
import { RANGE } from "./special-ranges.ts";

/** IoCtl and SysMgt: forward. */
const FORWARD = 1;
/** IoCtl: translate. */
const IO_TRANSLATE = 2;
/** SysMgt: translate. */
const MANAGEMENT_TRANSLATE = 3;

function invalid(type: number, flags: number = 0): Refusal {
  return { code: EVENT.INVALID_DEVICE_REQUEST, flags: flags | eventType(type) };
}

/**
 * The interrupt range: writes are interrupts whatever their class, and the interrupt half of the DTE decides. Remapping
 * tables are not modelled: with IntCtl=2 the message passes as it is.
 *
 * Source: AMD IOMMU specification §2.2.2.1 (IV, IntCtl), §2.2.5.
 *
 * @param problem what is illegal about the interrupt half
 */
export function judgeInterrupt(
  request: Request,
  dte: FetchedDte | undefined,
  problem: string,
): "pass" | "no-entry" | Refusal {
  if (request.type === AT_TRANSLATION_REQUEST) {
    return invalid(INVALID_TRANSLATION_RANGE, EVENT_TR);
  }
  if (!request.write) {
    return invalid(INVALID_INTERRUPT_READ);
  }
  if (dte === undefined) {
    return "no-entry";
  }
  if (problem !== "") {
    return { code: EVENT.ILLEGAL_DEV_TABLE_ENTRY, flags: EVENT_RZ | EVENT_I | EVENT_RW };
  }
  return dte.interruptValid && dte.interruptControl === INT_CTL_ABORT ? invalid(INVALID_INTERRUPT) : "pass";
}

/**
 * The ranges of HyperTransport that are no memory: port I/O by IoCtl, system management by SysMgt, the rest is refused.
 * With V=0 none of this applies.
 *
 * Source: AMD IOMMU specification §2.2.2.1 (IoCtl, SysMgt), §2.5.9 (types); the types are quoted by one driver and not
 * confirmed by another model.
 *
 * @param addressTranslationReserved HtAtsResv
 */
export function judgeSpecial(
  range: Range,
  request: Request,
  dte: FetchedDte,
  addressTranslationReserved: boolean,
): "pass" | "translate" | Refusal {
  if (!dte.valid) {
    return "translate";
  }
  switch (range) {
    case RANGE.portIo:
      return byControl(request, dte, dte.ioControl === IO_TRANSLATE, dte.ioControl === FORWARD, INVALID_PORT_IO);
    case RANGE.systemManagement: {
      const type = request.write ? INVALID_MANAGEMENT_WRITE : INVALID_MANAGEMENT_READ;
      const control = dte.systemManagement;
      return byControl(request, dte, control === MANAGEMENT_TRANSLATE, control === FORWARD, type);
    }
    case RANGE.addressTranslation:
      if (!addressTranslationReserved) {
        return "translate";
      }
      return refusal(request, request.write ? INVALID_MANAGEMENT_WRITE : INVALID_MANAGEMENT_READ);
    default:
      return refusal(request, request.write ? INVALID_RESERVED_INTERRUPT : INVALID_INTERRUPT_READ);
  }
}

function byControl(
  request: Request,
  dte: FetchedDte,
  translates: boolean,
  forwards: boolean,
  type: number,
): "pass" | "translate" | Refusal {
  if (translates) {
    return dte.translationValid ? "translate" : refusal(request, INVALID_UNTRANSLATABLE);
  }
  return forwards && request.type !== AT_TRANSLATION_REQUEST ? "pass" : refusal(request, type);
}

function refusal(request: Request, type: number): Refusal {
  return request.type === AT_TRANSLATION_REQUEST ? invalid(INVALID_TRANSLATION_RANGE, EVENT_TR) : invalid(type);
}
