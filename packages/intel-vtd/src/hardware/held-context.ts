import type { Digest } from "@iommu-lab/core";
import type { HeldEntry } from "./entry-cache.ts";
import type { SecondStageRoot } from "./second-stage-walk.ts";

/** A legacy context entry as the unit holds it, or the fault that it makes (caching mode). */
export class HeldContext implements HeldEntry, SecondStageRoot {
  /** Code of the fault that every request meets, 0 = none. */
  fault = 0;
  faultDisable = false;
  /** TT. */
  translationType = 0;
  domainId = 0;
  secondStageTable = 0;
  secondStageLevels = 0;
  /** AW as it is coded. */
  addressWidth = 0;
  endPage = 0;
  readonly accessDirty = false;
  readonly walkSnooped = true;

  digest(into: Digest): void {
    for (const value of [this.fault, this.translationType, this.domainId, this.secondStageTable, this.addressWidth]) {
      into.number(value);
    }
    into.number(this.faultDisable ? 1 : 0);
  }
}

/** A scalable context entry as the unit holds it, or the fault that it makes (caching mode). */
export class HeldScalableContext implements HeldEntry {
  /** Code of the fault that every request meets, 0 = none. */
  fault = 0;
  faultDisable = false;
  /** DTE. */
  deviceTlbEnable = false;
  /** PASIDE. */
  pasidEnable = false;
  /** PRE. */
  pageRequestEnable = false;
  /** HPTE: Translated requests need a host permission. */
  permissionTableEnable = false;
  /** EPTR. */
  translatedPasidEnable = false;
  /** PDTS as it is coded. */
  directorySize = 0;
  /** PASIDDIRPTR. */
  directory = 0;
  /** RID_PASID, 0 where the unit has no such field. */
  ridPasid = 0;
  /** RID_PRIV. */
  ridPrivileged = false;

  /** PASIDs below this number have an entry in the directory. */
  get directoryEnd(): number {
    return 1 << (this.directorySize + 13);
  }

  digest(into: Digest): void {
    const bits = [
      this.faultDisable,
      this.deviceTlbEnable,
      this.pasidEnable,
      this.pageRequestEnable,
      this.permissionTableEnable,
      this.translatedPasidEnable,
      this.ridPrivileged,
    ];
    into.text(bits.map((bit) => (bit ? "1" : "0")).join(""));
    for (const value of [this.fault, this.directorySize, this.directory, this.ridPasid]) {
      into.number(value);
    }
  }
}
