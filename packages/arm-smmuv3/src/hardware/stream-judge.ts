import { NO_PASID } from "@iommu-lab/pci";
import { EVENT } from "../layout/event-record.ts";
import type { Identification } from "../layout/id-registers.ts";
import { S1_DSS, STE_CONFIG } from "../layout/stream-table-entry.ts";
import type { ConfigLookup } from "./config-lookup.ts";
import type { ContextEntry } from "./context-entry.ts";
import type { Request } from "./request.ts";
import type { StreamEntry } from "./stream-entry.ts";
import { power } from "./table-geometry.ts";

/** The stream aborts without an event (STE.Config = 0xx). */
export const ABORTS = -1;
/** Stage 1 does not translate the address. */
export const BYPASSES = -2;

/**
 * What the configuration says of a request, step by step in the order of priority. One object per SMMU, reused.
 *
 * Source: SMMUv3 §3.4, §7.3.22, §5.2, §5.3.
 */
export class StreamJudge {
  readonly #lookup: ConfigLookup;
  readonly #id: Identification;

  constructor(lookup: ConfigLookup, id: Identification) {
    this.#lookup = lookup;
    this.#id = id;
  }

  /** The stream's entry; call after {@link StreamJudge.stream} gave 0 or {@link ABORTS}. */
  get streamEntry(): StreamEntry {
    return this.#lookup.stream;
  }

  /** The context descriptor; call after {@link StreamJudge.context} gave 0. */
  get contextEntry(): ContextEntry {
    return this.#lookup.context;
  }

  /** Steps 2 to 6: the stream's entry. @returns 0, {@link ABORTS}, or an event */
  stream(request: Request): number {
    const event = this.#lookup.findStream(request.sid);
    if (event !== 0) {
      return event;
    }
    const entry = this.streamEntry;
    if (entry.rule !== 0) {
      return EVENT.C_BAD_STE;
    }
    return entry.config < STE_CONFIG.bypass ? ABORTS : 0;
  }

  /** Steps 7 and 8: whether the stream takes this PASID. @returns 0, {@link BYPASSES}, or an event */
  substream(pasid: number): number {
    return judgeSubstream(this.streamEntry, this.#id, pasid);
  }

  /** Steps 10 to 12: the context descriptor. @returns 0 or an event */
  context(request: Request): number {
    const ssid = request.pasid === NO_PASID ? 0 : request.pasid;
    const event = this.#lookup.findContext(request.sid, this.streamEntry, ssid);
    if (event !== 0) {
      return event;
    }
    return this.contextEntry.rule === 0 ? 0 : EVENT.C_BAD_CD;
  }
}

/**
 * Whether a valid stream takes a PASID.
 *
 * Source: SMMUv3 §5.2, §5.3.
 *
 * @returns 0: by a context descriptor; {@link BYPASSES}; or an event
 */
export function judgeSubstream(entry: StreamEntry, id: Identification, pasid: number): number {
  const substreams = entry.stage1 ? entry.s1CdMax : 0;
  if (pasid !== NO_PASID) {
    if (substreams === 0 || id.substreamIdBits === 0 || pasid >= power(substreams)) {
      return EVENT.C_BAD_SUBSTREAMID;
    }
    return pasid === 0 && entry.s1Dss === S1_DSS.ssid0 ? EVENT.F_STREAM_DISABLED : 0;
  }
  if (!entry.stage1) {
    return BYPASSES;
  }
  if (substreams === 0 || entry.s1Dss === S1_DSS.ssid0) {
    return 0;
  }
  return entry.s1Dss === S1_DSS.bypass ? BYPASSES : EVENT.F_STREAM_DISABLED;
}
