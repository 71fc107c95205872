import type { Basis } from "@iommu-lab/core";

/**
 * What became of an access. `ok`: the bytes were reached. `fault`: the IOMMU refused it and recorded a fault. `abort`:
 * it was terminated without a record. `refused`: a request with a translated address was turned away. `not-sent`: the
 * device did not send it.
 */
export type AccessOutcome = "ok" | "fault" | "abort" | "refused" | "not-sent";

/** What became of an interrupt message: `delivered` when the doorbell got it. */
export type MsiOutcome = "delivered" | "fault" | "abort" | "not-sent" | "not-applicable";

/** Untranslated accesses. */
export interface UntranslatedOutcome {
  /** Reads. */
  readonly read: AccessOutcome;
  /** Writes. */
  readonly write: AccessOutcome;
}

/** The completion of a Translation Request and the permissions it granted. */
export interface TranslationOutcome {
  /** Completion status. */
  readonly completion: "success" | "UR" | "CA" | "not-sent";
  /** R of the completion. */
  readonly read: boolean;
  /** W of the completion. */
  readonly write: boolean;
}

/** Translated writes: `forged` to a page that no domain ever mapped, `stale` = the replay of a translation once got. */
export interface TranslatedOutcome {
  /** To a page that no domain ever mapped. */
  readonly forged: AccessOutcome;
  /** With the last translation that the device ever got. */
  readonly stale: AccessOutcome;
}

/** What a device that keeps the rules reaches. */
export interface HonestReach {
  /** Untranslated requests for its buffer. */
  readonly untranslated: UntranslatedOutcome;
  /** A Translation Request for its buffer. */
  readonly translationRequest: TranslationOutcome;
  /** A CXL.cache write. */
  readonly cxlCache: AccessOutcome;
}

/** What a device that ignores all its Enable bits reaches. */
export interface HostileReach extends HonestReach {
  /** Translated writes. */
  readonly translated: TranslatedOutcome;
}

/** One entry of the device's ATC. */
export interface AtcEntryReport {
  /** Page number the device uses. */
  readonly page: number;
  /** Host page number it has for it. */
  readonly host: number;
  /** Bytes covered, as log2. */
  readonly sizeLog2: number;
  /** The PASID it was asked with; absent when there was none. */
  readonly pasid?: number;
  /** Read permission. */
  readonly read: boolean;
  /** Write permission. */
  readonly write: boolean;
  /** Whether the IOMMU would answer the same now. */
  readonly current: boolean;
}

/** What a function reaches in both manners. */
export interface ReachReport {
  /** When it keeps the rules. */
  readonly honest: HonestReach;
  /** When it ignores them. */
  readonly hostile: HostileReach;
}

/** ATS, as wire and tables have it. */
export interface AtsReport {
  /** ATS Enable in config space. */
  readonly enabled: boolean;
  /** Whether the IOMMU lets the RID use ATS: a Translation Request gets Success, or a Translated request passes. */
  readonly permitted: boolean;
  /** STU in config space: translations are of 2^(12+stu) bytes at least. */
  readonly stu: number;
}

/** An Enable bit in config space. */
export interface EnableReport {
  /** Whether it is set. */
  readonly enabled: boolean;
}

/** What became of Invalidate Requests. */
export interface InvalidationCounts {
  /** Sent by the IOMMU. */
  readonly sent: number;
  /** Answered with a completion. */
  readonly answered: number;
  /** Lost in the function, as in a reset. */
  readonly dropped: number;
  /** Given up by the IOMMU. */
  readonly timedOut: number;
}

/** What the driver's own variables say. */
export interface BeliefReport {
  /** Whether it takes ATS for on. */
  readonly atsEnabled: boolean;
}

/** What is measured at one step in one column (`cells[]` of `comparison@1`). */
export interface Cell {
  /** The step's id. */
  readonly step: string;
  /** The column's id. */
  readonly column: string;
  /** `refused`: the kernel refused the step; the rest is measured all the same. `not-applicable`: nothing was done. */
  readonly status: "measured" | "refused" | "not-applicable" | "unknown";
  /** Only when refused. */
  readonly errno?: string;
  /** Plain words: why not applicable, what refused, how the step was reached. */
  readonly note?: string;
  /** `core` when the step uses the core's own attach because no user interface leads there. */
  readonly via?: "core";
  /** What the core believes the RID is attached to; `none` without a group. */
  readonly domain: string;
  /** `default` = a driver by the DMA API, `none`, else the owner's name. */
  readonly owner: string;
  /** PASID → domain type, as the core believes. */
  readonly pasids: Readonly<Record<string, string>>;
  /** `enabled` and `stu` from config space; `permitted`: the IOMMU lets the RID use ATS. */
  readonly ats: AtsReport;
  /** PRI Enable in config space. */
  readonly pri: EnableReport;
  /** PASID Enable in config space. */
  readonly pasid: EnableReport;
  /** What the function reaches without PASID when it keeps the rules. */
  readonly honest: HonestReach;
  /** What it reaches without PASID when it ignores them. */
  readonly hostile: HostileReach;
  /** The same with each live PASID. */
  readonly withPasid: Readonly<Record<string, ReachReport>>;
  /** What the ATC holds. */
  readonly atc: readonly AtcEntryReport[];
  /** Invalidate Requests during this step. */
  readonly invalidations: InvalidationCounts;
  /** The interrupt message that the driver was given. */
  readonly msi: MsiOutcome;
  /** The driver's own variable, to expose divergence. */
  readonly belief: BeliefReport;
  /** The least sure of the rules that decided in this step. */
  readonly basis: Basis;
  /**
   * `run:event`. The run `main` is the recording of the whole scenario; any other is named after its question, and is
   * recorded from the moment at which the question is asked of a replay.
   */
  readonly evidence: readonly string[];
}
