import type { Device, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { AtsControl } from "./ats-control.ts";
import type { DeviceInfo } from "./device-info.ts";
import { clearContext, mapContext, passThroughContext } from "./legacy-context.ts";
import type { PagingDomain, PagingOperations } from "./paging-domain.ts";
import { checkCompatible } from "./paging-table.ts";
import { setUpFirstStage, setUpPassThrough, setUpSecondStage, tearDownPasidEntry } from "./pasid-entries.ts";

/**
 * Attaches domains to RIDs. Every change goes through a blocked state; a failure after it leaves the device blocked.
 *
 * Source: Linux 7.2 drivers/iommu/intel/iommu.c.
 */
export class Attachments implements Pick<PagingOperations, "attachPaging"> {
  readonly #ats: AtsControl;
  readonly #infoOf: (device: Device) => DeviceInfo;

  constructor(ats: AtsControl, infoOf: (device: Device) => DeviceInfo) {
    this.#ats = ats;
    this.#infoOf = infoOf;
  }

  /** Source: Linux 7.2 `intel_iommu_attach_device()`. @throws KernelError EINVAL, ENOSPC, EBUSY */
  *attachPaging(domain: PagingDomain, device: Device): Op<void> {
    const info = this.#infoOf(device);
    const wanted = yield* this.#ats.before(info, "rid-attach", domain.type, info.pasids.size);
    yield* this.block(info);
    checkCompatible(domain.shape, info.unit.iommu);
    yield* this.#attachTo(info, domain, wanted);
    yield* this.#ats.after(info, wanted);
  }

  /** Source: Linux 7.2 `identity_domain_attach_dev()`. @throws KernelError EBUSY */
  *attachIdentity(device: Device): Op<void> {
    const info = this.#infoOf(device);
    const wanted = yield* this.#ats.before(info, "rid-attach", "IDENTITY", info.pasids.size);
    yield* this.block(info);
    yield* info.unit.iommu.scalable ? setUpPassThrough(info, 0) : passThroughContext(info);
    info.domainAttached = true;
    info.ridDomain = "IDENTITY";
    yield* this.#ats.after(info, wanted);
  }

  /** Source: Linux 7.2 `blocking_domain_attach_dev()`. */
  *attachBlocked(device: Device): Op<void> {
    const info = this.#infoOf(device);
    const wanted = yield* this.#ats.before(info, "rid-attach", "BLOCKED", info.pasids.size);
    yield* this.block(info);
    info.ridDomain = "BLOCKED";
    yield* this.#ats.after(info, wanted);
  }

  /**
   * Takes away what is on the RID, so that its requests are refused.
   *
   * Source: Linux 7.2 `device_block_translation()`.
   */
  *block(info: DeviceInfo): Op<void> {
    if (!info.domainAttached) {
      return;
    }
    const { domain, unit } = info;
    if (domain !== undefined) {
      yield* domain.tags.unassign(info, domain.domainId(unit), 0);
    }
    if (unit.iommu.scalable) {
      yield* tearDownPasidEntry(info, 0);
    } else {
      yield* clearContext(info);
      yield* this.#ats.disableDevice(info);
    }
    info.domainAttached = false;
    info.ridDomain = "none";
    if (domain !== undefined) {
      domain.devices.splice(domain.devices.indexOf(info), 1);
      domain.dropId(unit);
      info.domain = undefined;
    }
  }

  /** Source: Linux 7.2 `dmar_domain_attach_device()`. */
  *#attachTo(info: DeviceInfo, domain: PagingDomain, wanted: boolean): Op<void> {
    const { unit } = info;
    domain.holdId(unit);
    info.domain = domain;
    info.domainAttached = true;
    info.ridDomain = domain.type;
    domain.devices.push(info);
    try {
      if (unit.iommu.scalable) {
        yield* setUpPaging(info, 0, domain);
      } else {
        yield* mapContext(info, domain);
        if (wanted) {
          yield* this.#ats.enableDevice(info);
        }
      }
      yield* domain.tags.assign(info, domain.domainId(unit), 0);
    } catch (error) {
      if (error instanceof KernelError) {
        yield* this.block(info);
      }
      throw error;
    }
  }
}

/** Points a PASID entry at a paging domain, by the stage of its table. */
export function* setUpPaging(info: DeviceInfo, pasid: number, domain: PagingDomain): Op<void> {
  const { stage, coherent } = domain.shape;
  const table = domain.root;
  const domainId = domain.domainId(info.unit);
  if (stage === "first") {
    yield* setUpFirstStage(info, pasid, { table, domainId, coherent });
  } else {
    yield* setUpSecondStage(info, pasid, { table, domainId, coherent, addressWidth: domain.addressWidth });
  }
}
