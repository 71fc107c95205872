import type { Digest } from "@iommu-lab/core";
import type { HeldEntry } from "./entry-cache.ts";
import type { SecondStageRoot } from "./second-stage-walk.ts";

/** A PASID entry as the unit holds it, or the fault that it makes (caching mode). */
export class HeldPasid implements HeldEntry, SecondStageRoot {
  /** Code of the fault that every request meets, 0 = none. */
  fault = 0;
  /** FPD of the directory entry or of the entry itself. */
  faultDisable = false;
  /** PGTT. */
  translationType = 0;
  /** PGTT=3. */
  nested = false;
  domainId = 0;
  secondStageTable = 0;
  secondStageLevels = 0;
  endPage = 0;
  accessDirty = false;
  walkSnooped = false;
  /** PGSNP. */
  pageSnoop = false;
  firstStageTable = 0;
  /** 4 or 5. */
  firstStageLevels = 4;
  /** SRE. */
  supervisorEnable = false;
  /** WPE. */
  writeProtect = false;
  /** EAFE. */
  extendedAccess = false;
  /** HPTPTR. */
  permissionTable = 0;
  /** HPTSZ. */
  permissionTableSize = 0;
  /** HPTPFD: faults of the host permission table are not recorded. */
  permissionFaultDisable = false;
  /** HPTDID. */
  permissionDomainId = 0;

  digest(into: Digest): void {
    const bits = [
      this.faultDisable,
      this.accessDirty,
      this.walkSnooped,
      this.pageSnoop,
      this.supervisorEnable,
      this.writeProtect,
      this.extendedAccess,
      this.permissionFaultDisable,
    ];
    into.text(bits.map((bit) => (bit ? "1" : "0")).join(""));
    for (const value of [
      this.fault,
      this.translationType,
      this.domainId,
      this.secondStageTable,
      this.endPage,
      this.firstStageTable,
      this.firstStageLevels,
      this.permissionTable,
      this.permissionTableSize,
      this.permissionDomainId,
    ]) {
      into.number(value);
    }
  }
}
