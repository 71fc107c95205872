import type { Device, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { AtsControl } from "./ats-control.ts";
import type { DeviceInfo } from "./device-info.ts";
import { clearContext, mapContext, passThroughContext } from "./legacy-context.ts";
import type { PagingDomain, RidOperations } from "./paging-domain.ts";
import { checkCompatible } from "./paging-table.ts";
import type { VtdVersion } from "./version.ts";
import { setUpFirstStage, setUpPassThrough, setUpSecondStage, tearDownPasidEntry } from "./pasid-entries.ts";

/**
 * Attaches domains to RIDs. Every change goes through a blocked state; a failure after it leaves the device blocked.
 *
 * Source: Linux 7.2 drivers/iommu/intel/iommu.c.
 */
export class Attachments implements RidOperations {
  readonly #ats: AtsControl;
  readonly #infoOf: (device: Device) => DeviceInfo;

  readonly #version: VtdVersion;

  constructor(ats: AtsControl, infoOf: (device: Device) => DeviceInfo, version: VtdVersion) {
    this.#ats = ats;
    this.#infoOf = infoOf;
    this.#version = version;
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
    if (info.unit.iommu.scalable) {
      yield* this.#enableWithEntry(info, wanted);
    }
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

  /** Nothing: the release domain was attached. */
  *release(): Op<void> {
    // Source: Linux 7.2 `intel_iommu_release_device()`.
  }

  /**
   * Takes away what is on the RID, so that its requests are refused.
   *
   * Source: Linux 7.2 `device_block_translation()`. 6.12 clears ATS Enable first, so the device-TLB is not flushed.
   */
  *block(info: DeviceInfo): Op<void> {
    if (!info.domainAttached) {
      return;
    }
    const { domain, unit } = info;
    if (domain !== undefined) {
      yield* domain.tags.unassign(info, domain.domainId(unit), 0);
    }
    if (this.#version.ats === "each-attach") {
      yield* this.#ats.disableDevice(info);
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

  /** Scalable mode of 6.12: ATS goes on as soon as the entry is there. Source: Linux 6.12 `iommu_enable_pci_caps()`. */
  *#enableWithEntry(info: DeviceInfo, wanted: boolean): Op<void> {
    if (wanted && this.#version.ats === "each-attach") {
      info.atsWanted = true;
      yield* this.#ats.enableDevice(info);
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
        yield* this.#enableWithEntry(info, wanted);
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
