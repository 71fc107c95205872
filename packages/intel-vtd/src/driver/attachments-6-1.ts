import type { Device, Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import { pciDisablePasid, pciEnablePasid } from "@iommu-lab/pci";
import type { AtsControl } from "./ats-control.ts";
import { setUpPaging } from "./attachments.ts";
import type { DeviceInfo } from "./device-info.ts";
import { clearContext, mapContext, passThroughContext } from "./legacy-context.ts";
import type { PagingDomain, RidOperations } from "./paging-domain.ts";
import { checkCompatible } from "./paging-table.ts";
import { setUpPassThrough, tearDownPasidEntry } from "./pasid-entries.ts";
import { clearScalableContext61, setUpScalableContext } from "./scalable-context.ts";
import type { ServedUnit } from "./served-unit.ts";

/** The domain ID of the identity domain on one unit (`si_domain`), and how many devices hold it. */
interface IdentityId {
  readonly domainId: number;
  users: number;
}

/**
 * Attaches domains to RIDs as Linux 6.1 does: the context entry is written with the first attach, PASID, PRI and ATS are
 * enabled at the end of every attach and disabled, in reverse, at the start of every block. There is no BLOCKED domain.
 *
 * Source: Linux 6.1 drivers/iommu/intel/iommu.c.
 */
export class Attachments61 implements RidOperations {
  readonly #ats: AtsControl;
  readonly #infoOf: (device: Device) => DeviceInfo;
  readonly #locked: (device: Device) => boolean;
  readonly #identity = new Map<ServedUnit, IdentityId>();

  /** @param locked the device has an RMRR that its driver cannot give up (`device_is_rmrr_locked()`) */
  constructor(ats: AtsControl, infoOf: (device: Device) => DeviceInfo, locked: (device: Device) => boolean) {
    this.#ats = ats;
    this.#infoOf = infoOf;
    this.#locked = locked;
  }

  /** Source: Linux 6.1 `intel_iommu_attach_device()`. @throws KernelError EPERM with an RMRR, EINVAL, ENOSPC, EBUSY */
  *attachPaging(domain: PagingDomain, device: Device): Op<void> {
    const info = this.#infoOf(device);
    if (domain.type === "UNMANAGED" && this.#locked(device)) {
      throw new KernelError("EPERM", `${device.name} has an RMRR and takes no domain of a user`);
    }
    const wanted = yield* this.#ats.before(info, "rid-attach", domain.type, info.pasids.size);
    yield* this.#blockAttached(info);
    checkCompatible(domain.shape, info.unit.iommu);
    const { unit } = info;
    domain.holdId(unit);
    info.domain = domain;
    this.#noteAttached(info, domain.type);
    domain.devices.push(info);
    try {
      if (unit.iommu.scalable) {
        yield* setUpPaging(info, 0, domain);
        yield* setUpScalableContext(info, info.priSupported, domain.domainId(unit));
      } else {
        yield* mapContext(info, domain);
      }
    } catch (error) {
      if (error instanceof KernelError) {
        yield* this.#block(info);
      }
      throw error;
    }
    yield* this.#enableCaps(info, wanted);
    yield* domain.tags.assign(info, domain.domainId(unit), 0);
  }

  /** Source: Linux 6.1 `intel_iommu_attach_device()` with `si_domain`. @throws KernelError ENOSPC, EBUSY */
  *attachIdentity(device: Device): Op<void> {
    const info = this.#infoOf(device);
    const wanted = yield* this.#ats.before(info, "rid-attach", "IDENTITY", info.pasids.size);
    yield* this.#blockAttached(info);
    const { unit } = info;
    const domainId = this.#holdIdentity(unit);
    this.#noteAttached(info, "IDENTITY");
    if (!unit.iommu.scalable) {
      yield* passThroughContext(info, domainId);
      return;
    }
    yield* setUpPassThrough(info, 0, unit.iommu.caps.srs);
    yield* setUpScalableContext(info, info.priSupported, domainId);
    yield* this.#enableCaps(info, wanted);
  }

  /** Never called: the driver has no BLOCKED domain. @throws KernelError EOPNOTSUPP */
  // eslint-disable-next-line require-yield
  *attachBlocked(): Op<void> {
    throw new KernelError("EOPNOTSUPP", "Linux 6.1 has no BLOCKED domain on VT-d");
  }

  /**
   * The entry goes while ATS is still on, so the device-TLB is flushed; then Enable bits, then the context entry.
   *
   * Source: Linux 6.1 `intel_iommu_release_device()`, `dmar_remove_one_dev_info()`.
   */
  *release(info: DeviceInfo): Op<void> {
    const { scalable, caps } = info.unit.iommu;
    if (scalable) {
      yield* tearDownPasidEntry(info, 0, !caps.cm);
    }
    yield* this.#disableCaps(info);
    if (scalable) {
      const domainId = info.ridDomain === "IDENTITY" ? 1 : (info.domain?.domainId(info.unit) ?? 0);
      yield* clearScalableContext61(info, domainId);
    } else {
      yield* clearContext(info);
    }
    yield* this.#forget(info);
  }

  *#blockAttached(info: DeviceInfo): Op<void> {
    if (info.domainAttached) {
      yield* this.#block(info);
    }
  }

  /** Source: Linux 6.1 `device_block_translation()`. */
  *#block(info: DeviceInfo): Op<void> {
    yield* this.#disableCaps(info);
    if (info.unit.iommu.scalable) {
      yield* tearDownPasidEntry(info, 0);
    } else {
      yield* clearContext(info);
    }
    yield* this.#forget(info);
  }

  *#forget(info: DeviceInfo): Op<void> {
    const { domain, unit } = info;
    if (info.ridDomain === "IDENTITY") {
      this.#dropIdentity(unit);
    } else if (domain !== undefined) {
      yield* domain.tags.unassign(info, domain.domainId(unit), 0);
      domain.devices.splice(domain.devices.indexOf(info), 1);
      domain.dropId(unit);
    }
    info.domain = undefined;
    info.domainAttached = false;
    info.ridDomain = "none";
  }

  #noteAttached(info: DeviceInfo, type: DeviceInfo["ridDomain"]): void {
    info.domainAttached = true;
    info.ridDomain = type;
  }

  /** PASID, PRI, ATS, in this order. Source: Linux 6.1 `iommu_enable_pci_caps()`. */
  *#enableCaps(info: DeviceInfo, wanted: boolean): Op<void> {
    if (info.pasidSupported && !info.pasidEnabled) {
      try {
        yield* pciEnablePasid(info.dev, info.pasidFeatures);
        info.pasidEnabled = true;
      } catch (error) {
        if (!(error instanceof KernelError)) {
          throw error;
        }
      }
    }
    yield* this.#ats.enablePriAlone(info);
    if (wanted) {
      yield* this.#ats.enableDevice(info);
    }
  }

  /** ATS, PRI, PASID, in this order. Source: Linux 6.1 `iommu_disable_dev_iotlb()`. */
  *#disableCaps(info: DeviceInfo): Op<void> {
    yield* this.#ats.disableDevice(info);
    yield* this.#ats.disablePri(info);
    if (info.pasidEnabled) {
      yield* pciDisablePasid(info.dev);
      info.pasidEnabled = false;
    }
  }

  #holdIdentity(unit: ServedUnit): number {
    const held = this.#identity.get(unit);
    if (held !== undefined) {
      held.users += 1;
      return held.domainId;
    }
    const domainId = unit.iommu.domainIds.allocate();
    this.#identity.set(unit, { domainId, users: 1 });
    return domainId;
  }

  #dropIdentity(unit: ServedUnit): void {
    const held = this.#identity.get(unit);
    if (held !== undefined) {
      held.users -= 1;
      if (held.users === 0) {
        unit.iommu.domainIds.free(held.domainId);
        this.#identity.delete(unit);
      }
    }
  }
}
