import type { Trace } from "@iommu-lab/core";
import { hex } from "@iommu-lab/core";
import { NO_PASID } from "@iommu-lab/pci";
import type { FaultAccess } from "../layout/fault-record.ts";
import type { FaultReason } from "../layout/fault-reason.ts";
import type { FaultRecorder } from "./fault-recorder.ts";
import type { Trail } from "./trail.ts";
import type { WalkContext } from "./walk.ts";

/** The parts of a unit that its ports share. */
export interface FaultReporterParts {
  readonly name: string;
  readonly context: WalkContext;
  readonly faults: FaultRecorder;
  readonly trace: Trace;
}

/** What met a fault. */
export interface FaultingRequest {
  readonly rid: number;
  readonly pasid: number;
  readonly page: number;
  readonly type: number;
  readonly privileged: boolean;
  readonly execute: boolean;
}

/** Records a fault where software can read it, unless FPD forbids, and tells the trace. */
export class FaultReporter {
  readonly #parts: FaultReporterParts;

  constructor(parts: FaultReporterParts) {
    this.#parts = parts;
  }

  /** @returns whether software can read a record of it */
  report(reason: FaultReason, request: FaultingRequest, access: FaultAccess, trail: Trail): boolean {
    const { name, context, faults, trace } = this.#parts;
    const recorded =
      !(reason.qualified && trail.faultDisable) &&
      faults.record({
        page: request.page,
        sourceId: request.rid,
        reason: reason.code,
        pasid: request.pasid,
        privileged: request.privileged,
        execute: request.execute,
        addressType: request.type,
        access,
      });
    if (trace.active) {
      trace.emit("fault", {
        iommu: name,
        rid: request.rid,
        ...(request.pasid === NO_PASID ? {} : { pasid: request.pasid }),
        page: request.page,
        code: hex(reason.code),
        name: faultName(reason),
        recorded,
        table: context.memory.writerOf(trail.line),
      });
    }
    return recorded;
  }
}

/** Condition and meaning of a fault reason, such as `SPT.2 PASID entry not present`. */
export function faultName(reason: FaultReason): string {
  return `${reason.condition} ${reason.meaning}`;
}
