import { type DmaResult, NO_PASID, type PastTranslation } from "@iommu-lab/pci";
import type { AccessOutcome, MsiOutcome, TranslationOutcome } from "../cell.ts";
import type { Stage } from "../stage.ts";
import type { Answer, Manner, Question } from "./question.ts";
import { makeHostile } from "./question.ts";

const PAGE = 4096;
/** What the probe puts into memory before a read, and lets the device write. */
const SECRET = 0x5ec2e700;
const MARK = 0x3ad0c0de;
/** Offsets in the page, so that reads and writes do not meet. */
const READ_AT = 0x100;
const WRITE_AT = 0x200;

function label(manner: Manner, pasid: number, what: string): string {
  return pasid === NO_PASID ? `${manner}.${what}` : `pasid${pasid}.${manner}.${what}`;
}

/** The page number to ask for, and the host page where its bytes are. */
function place(stage: Stage, pasid: number): { readonly page: number; readonly host: number } {
  if (pasid === NO_PASID) {
    return { page: stage.target, host: stage.buffer };
  }
  return { page: stage.pasidTargets.get(pasid) ?? stage.userBuffer, host: stage.userBuffer };
}

function refusal(result: DmaResult, denied: AccessOutcome | undefined): AccessOutcome {
  if (!result.sent) {
    return "not-sent";
  }
  return denied ?? (result.recorded ? "fault" : "abort");
}

function prepare(stage: Stage, manner: Manner): void {
  if (manner === "hostile") {
    makeHostile(stage);
  }
}

/** An Untranslated read: `ok` only when the bytes that the probe put there came back. */
export function untranslatedRead(manner: Manner, pasid: number): Question<AccessOutcome> {
  return {
    name: label(manner, pasid, "untranslated.read"),
    honest: manner === "honest",
    ask(stage) {
      prepare(stage, manner);
      const { page, host } = place(stage, pasid);
      stage.platform.memory.store32(host * PAGE + READ_AT, SECRET);
      const result = stage.endpoint.untranslatedRead(page, READ_AT, pasid);
      const reached = result.sent && result.status === "success" && result.value === SECRET;
      return { value: reached ? "ok" : refusal(result, undefined), events: result.sent ? [result.event] : [] };
    },
  };
}

/** Asks for a write and reads memory afterwards: `ok` only when the bytes changed. */
function write(
  stage: Stage,
  host: number,
  denied: AccessOutcome | undefined,
  send: () => DmaResult,
): Answer<AccessOutcome> {
  const { memory } = stage.platform;
  memory.store32(host * PAGE + WRITE_AT, 0);
  const result = send();
  const reached = memory.load32(host * PAGE + WRITE_AT) === MARK;
  return { value: reached ? "ok" : refusal(result, denied), events: result.sent ? [result.event] : [] };
}

/** An Untranslated write. */
export function untranslatedWrite(manner: Manner, pasid: number): Question<AccessOutcome> {
  return {
    name: label(manner, pasid, "untranslated.write"),
    honest: manner === "honest",
    ask(stage) {
      prepare(stage, manner);
      const { page, host } = place(stage, pasid);
      return write(stage, host, undefined, () => stage.endpoint.untranslatedWrite(page, WRITE_AT, MARK, pasid));
    },
  };
}

/** The completion of a Translation Request, and which page it was for. */
export interface TranslationAnswer {
  readonly outcome: TranslationOutcome;
  /** Page number asked for. */
  readonly page: number;
  /** Host page number in the completion. */
  readonly host: number;
}

/** A Translation Request for the buffer. */
export function translationRequest(manner: Manner, pasid: number): Question<TranslationAnswer> {
  return {
    name: label(manner, pasid, "translationRequest"),
    honest: manner === "honest",
    ask(stage) {
      prepare(stage, manner);
      const { page } = place(stage, pasid);
      const result = stage.endpoint.translationRequest(page, pasid, {});
      if (!result.sent) {
        return { value: { outcome: { completion: "not-sent", read: false, write: false }, page, host: 0 }, events: [] };
      }
      const { host, read, write: writable } = result;
      const completion = result.status === "success" ? "success" : result.status === "CA" ? "CA" : "UR";
      return { value: { outcome: { completion, read, write: writable }, page, host }, events: [result.event] };
    },
  };
}

/** A hostile Translated write to the canary page. */
export function forgedWrite(pasid: number): Question<AccessOutcome> {
  return {
    name: label("hostile", pasid, "translated.forged"),
    ask(stage) {
      makeHostile(stage);
      return write(stage, stage.canary, "refused", () =>
        stage.endpoint.translatedWrite(stage.canary, WRITE_AT, MARK, pasid),
      );
    },
  };
}

/** A hostile Translated write with the last translation that the device ever got. */
export function staleWrite(pasid: number): Question<AccessOutcome> {
  return {
    name: label("hostile", pasid, "translated.stale"),
    ask(stage) {
      makeHostile(stage);
      const known = lastTranslation(stage, pasid);
      if (known === undefined) {
        return { value: "not-sent", events: [] };
      }
      return write(stage, known.host, "refused", () =>
        stage.endpoint.translatedWrite(known.host, WRITE_AT, MARK, pasid),
      );
    },
    absent: (stage) => (lastTranslation(stage, pasid) === undefined ? "not-sent" : undefined),
  };
}

function lastTranslation(stage: Stage, pasid: number): PastTranslation | undefined {
  return stage.endpoint.history.findLast((one) => one.pasid === pasid);
}

/**
 * A CXL.cache write. An honest device gets a translation from its ATC or by a Translation Request; a hostile one goes
 * on using the last that it ever got.
 */
export function cxlWrite(manner: Manner, pasid: number): Question<AccessOutcome> {
  return {
    name: label(manner, pasid, "cxlCache"),
    honest: manner === "honest",
    ask(stage) {
      const { cxl } = stage;
      if (cxl === undefined) {
        return { value: "not-sent", events: [] };
      }
      prepare(stage, manner);
      const { page, host } = place(stage, pasid);
      if (manner === "honest") {
        return write(stage, host, "refused", () => cxl.write(page, WRITE_AT, MARK, pasid));
      }
      const known = lastTranslation(stage, pasid);
      if (known === undefined) {
        return { value: "not-sent", events: [] };
      }
      return write(stage, known.host, "refused", () => cxl.replay(known.host, WRITE_AT, MARK));
    },
    absent: (stage) => (stage.cxl === undefined ? "not-sent" : undefined),
  };
}

/** The interrupt message that the driver was given. */
export const interrupt: Question<MsiOutcome> = {
  name: "msi",
  ask(stage) {
    const before = stage.interrupts;
    const result = stage.endpoint.writeMsi(stage.msiPage ?? 0, 0x40, 32);
    if (!result.sent) {
      return { value: "not-sent", events: [] };
    }
    const refused = result.recorded ? "fault" : "abort";
    return { value: stage.interrupts > before ? "delivered" : refused, events: [result.event] };
  },
  absent(stage) {
    if (stage.doorbell === undefined) {
      return "not-applicable";
    }
    return stage.msiPage === undefined ? "not-sent" : undefined;
  },
};

/** Whether the IOMMU would give the same translation now. */
export function stillTrue(page: number, host: number, pasid: number): Question<boolean> {
  return {
    name: `atc.${pasid === NO_PASID ? "" : `pasid${pasid}.`}0x${page.toString(16)}`,
    ask(stage) {
      makeHostile(stage);
      const result = stage.endpoint.translationRequest(page, pasid, {});
      const same = result.status === "success" && result.host === host && (result.read || result.write);
      return { value: result.sent && same, events: result.sent ? [result.event] : [] };
    },
  };
}
