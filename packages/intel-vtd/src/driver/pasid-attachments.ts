import type { Device, Domain, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { AtsControl } from "./ats-control.ts";
import { setUpPaging } from "./attachments.ts";
import type { DeviceInfo } from "./device-info.ts";
import { FLPT_DEFAULT_DID } from "./domain-ids.ts";
import { PagingDomain } from "./paging-domain.ts";
import { checkCompatible } from "./paging-table.ts";
import { setUpFirstStage, setUpPassThrough, tearDownPasidEntry } from "./pasid-entries.ts";
import { SvaDomain } from "./sva-domain.ts";
import type { VtdVersion } from "./version.ts";

/**
 * Sets, replaces and removes PASIDs. A replacement is a tear-down and a set-up, with a gap between them.
 *
 * Source: Linux 7.2 drivers/iommu/intel/iommu.c, svm.c.
 */
export class PasidAttachments {
  readonly #ats: AtsControl;
  readonly #infoOf: (device: Device) => DeviceInfo;
  readonly #version: VtdVersion;

  constructor(ats: AtsControl, infoOf: (device: Device) => DeviceInfo, version: VtdVersion) {
    this.#ats = ats;
    this.#infoOf = infoOf;
    this.#version = version;
  }

  /** Source: Linux 7.2 `intel_iommu_set_dev_pasid()`. @throws KernelError EOPNOTSUPP, EINVAL, ENOSPC, EBUSY */
  *setPagingPasid(domain: PagingDomain, device: Device, pasid: number, old: Domain | undefined): Op<void> {
    const info = this.#infoOf(device);
    needPasids(info);
    checkCompatible(domain.shape, info.unit.iommu);
    const wanted = yield* this.#before(info, pasid);
    domain.holdId(info.unit);
    yield* domain.tags.assign(info, domain.domainId(info.unit), pasid);
    yield* this.#replace(info, pasid, domain, old, setUpPaging(info, pasid, domain));
    yield* this.#ats.after(info, wanted);
  }

  /** Source: Linux 7.2 `identity_domain_set_dev_pasid()`. @throws KernelError EOPNOTSUPP, EBUSY */
  *setIdentityPasid(domain: Domain, device: Device, pasid: number, old: Domain | undefined): Op<void> {
    const info = this.#infoOf(device);
    needPasids(info);
    const wanted = yield* this.#before(info, pasid);
    yield* this.#replace(info, pasid, domain, old, setUpPassThrough(info, pasid));
    yield* this.#ats.after(info, wanted);
  }

  /** Source: Linux 7.2 `intel_svm_set_dev_pasid()`. @throws KernelError ENODEV, EINVAL, EBUSY */
  *setSvaPasid(domain: SvaDomain, device: Device, pasid: number, old: Domain | undefined): Op<void> {
    const info = this.#infoOf(device);
    const wanted = yield* this.#before(info, pasid);
    if (this.#version.pageRequests === "finalize") {
      this.checkSva(info, wanted);
    }
    yield* domain.tags.assign(info, FLPT_DEFAULT_DID, pasid);
    const stage = { table: domain.process.root, domainId: FLPT_DEFAULT_DID, coherent: true };
    yield* this.#replace(info, pasid, domain, old, setUpFirstStage(info, pasid, stage));
    yield* this.#ats.after(info, wanted);
  }

  /** Source: Linux 7.2 `blocking_domain_set_dev_pasid()`, 6.12 `intel_iommu_remove_dev_pasid()`. */
  *removePasid(device: Device, pasid: number, old: Domain | undefined): Op<void> {
    const info = this.#infoOf(device);
    const left = info.pasids.size - (info.pasids.has(pasid) ? 1 : 0);
    const wanted = yield* this.#ats.before(info, "pasid-remove", info.ridDomain, left);
    if (this.#version.forgetFirst) {
      yield* forget(info, pasid, old);
      yield* tearDownPasidEntry(info, pasid);
    } else {
      yield* tearDownPasidEntry(info, pasid);
      dropFaults(info, old);
      yield* forget(info, pasid, old);
    }
    info.pasids.delete(pasid);
    yield* this.#ats.after(info, wanted);
  }

  /**
   * Whether a process can be shared with a device.
   *
   * Source: Linux 7.2 `intel_iommu_sva_supported()`.
   *
   * @param wanted ATS goes on with the PASID
   * @throws KernelError ENODEV when the unit cannot, EINVAL when PASID, ATS or PRI are off
   */
  checkSva(info: DeviceInfo, wanted: boolean): void {
    if (!info.unit.iommu.svmCapable) {
      throw new KernelError("ENODEV", `${info.unit.iommu.name} is not SVM capable`);
    }
    if (!info.pasidEnabled || !this.#ats.available(info, wanted)) {
      throw new KernelError("EINVAL", `SVA needs PASID and ATS of ${info.device.name} on`);
    }
    if (info.priSupported && (info.atsEnabled ? !info.priEnabled : this.#ats.refusesPri(info))) {
      throw new KernelError("EINVAL", `SVA needs PRI of ${info.device.name} on`);
    }
  }

  #before(info: DeviceInfo, pasid: number): Op<boolean> {
    const live = info.pasids.size + (info.pasids.has(pasid) ? 0 : 1);
    return this.#ats.before(info, "pasid-set", info.ridDomain, live);
  }

  /**
   * The page faults of the old domain end before its entry goes, so its tear-down does not drain page requests.
   *
   * @param setUp writes the new entry
   */
  *#replace(info: DeviceInfo, pasid: number, domain: Domain, old: Domain | undefined, setUp: Op<void>): Op<void> {
    if (this.#version.pageRequests === "finalize") {
      replaceFaults(info, domain, old);
    }
    try {
      if (old !== undefined) {
        yield* tearDownPasidEntry(info, pasid);
      }
      yield* setUp;
    } catch (error) {
      if (error instanceof KernelError) {
        if (this.#version.pageRequests === "finalize") {
          replaceFaults(info, old, domain);
        }
        yield* forget(info, pasid, domain);
      }
      throw error;
    }
    yield* forget(info, pasid, old);
    info.pasids.set(pasid, domain);
  }
}

/** @throws KernelError EOPNOTSUPP in legacy mode, or without PASID in the unit */
function needPasids(info: DeviceInfo): void {
  if (!info.unit.iommu.pasidSupported) {
    throw new KernelError("EOPNOTSUPP", `${info.unit.iommu.name} has no PASIDs`);
  }
}

/** Drops tags and domain ID of what was on a PASID. Source: Linux 7.2 `domain_remove_dev_pasid()`. */
function* forget(info: DeviceInfo, pasid: number, old: Domain | undefined): Op<void> {
  if (old instanceof PagingDomain) {
    yield* old.tags.unassign(info, old.domainId(info.unit), pasid);
    old.dropId(info.unit);
  } else if (old instanceof SvaDomain) {
    yield* old.tags.unassign(info, FLPT_DEFAULT_DID, pasid);
  }
}

/** Page faults of a process are handled where the device has PRI. Source: Linux 7.2 `iopf_for_domain_replace()`. */
function replaceFaults(info: DeviceInfo, domain: Domain | undefined, old: Domain | undefined): void {
  if (domain instanceof SvaDomain && info.priSupported) {
    info.faultUsers += 1;
  }
  dropFaults(info, old);
}

/** Source: Linux 7.2 `iopf_for_domain_remove()`. */
function dropFaults(info: DeviceInfo, old: Domain | undefined): void {
  if (old instanceof SvaDomain && info.priSupported) {
    info.faultUsers -= 1;
  }
}
