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
  readonly read: AccessOutcome;
  readonly write: AccessOutcome;
}

/** The completion of a Translation Request and the permissions it granted. */
export interface TranslationOutcome {
  readonly completion: "success" | "UR" | "CA" | "not-sent";
  readonly read: boolean;
  readonly write: boolean;
}

/** Translated writes: `forged` to a page that no domain ever mapped, `stale` = the replay of a translation once got. */
export interface TranslatedOutcome {
  readonly forged: AccessOutcome;
  readonly stale: AccessOutcome;
}

/** What a device that keeps the rules reaches. */
export interface HonestReach {
  readonly untranslated: UntranslatedOutcome;
  readonly translationRequest: TranslationOutcome;
  readonly cxlCache: AccessOutcome;
}

/** What a device that ignores all its Enable bits reaches. */
export interface HostileReach extends HonestReach {
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
  readonly pasid?: number;
  readonly read: boolean;
  readonly write: boolean;
  /** Whether the IOMMU would answer the same now. */
  readonly current: boolean;
}

/** What is measured at one step in one column (`cells[]` of `comparison@1`). */
export interface Cell {
  readonly step: string;
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
  /** `enabled` and `stu` from config space; `permitted`: a Translation Request is answered with Success. */
  readonly ats: { readonly enabled: boolean; readonly permitted: boolean; readonly stu: number };
  readonly pri: { readonly enabled: boolean };
  readonly pasid: { readonly enabled: boolean };
  readonly honest: HonestReach;
  readonly hostile: HostileReach;
  /** The same with each live PASID. */
  readonly withPasid: Readonly<Record<string, { readonly honest: HonestReach; readonly hostile: HostileReach }>>;
  readonly atc: readonly AtcEntryReport[];
  /** Invalidate Requests during this step. */
  readonly invalidations: {
    readonly sent: number;
    readonly answered: number;
    readonly dropped: number;
    readonly timedOut: number;
  };
  readonly msi: MsiOutcome;
  /** The driver's own variable, to expose divergence. */
  readonly belief: { readonly atsEnabled: boolean };
  /** The least sure of the rules that decided in this step. */
  readonly basis: Basis;
  /**
   * `run:event`. The run `main` is the recording of the whole scenario; any other is named after its question, and is
   * recorded from the moment at which the question is asked of a replay.
   */
  readonly evidence: readonly string[];
}
