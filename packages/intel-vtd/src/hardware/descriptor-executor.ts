import { type Trace, type Words, getBit, getBits } from "@iommu-lab/core";
import type { IommuHardware, RootComplex } from "@iommu-lab/pci";
import { NO_PASID } from "@iommu-lab/pci";
import type { Capabilities } from "../layout/capabilities.ts";
import { descriptorName, deviceTlbRange, iotlbRange } from "../layout/descriptor-text.ts";
import {
  CC_INV,
  DEV_TLB_INV,
  GRANULARITY_DOMAIN,
  GRANULARITY_GLOBAL,
  GRANULARITY_PASID,
  HPT_INV,
  IOTLB_INV,
  PAGE_GRP_RESP,
  PC_GLOBAL,
  PC_INV,
  PC_PASID,
  P_DEV_TLB_INV,
  P_IOTLB_INV,
} from "../layout/descriptor.ts";
import type { DeviceTlbs } from "./device-tlbs.ts";
import type { DescriptorExecutor } from "./invalidation-queue.ts";
import type { TranslationCaches } from "./translation-caches.ts";

/** What descriptors act on. */
export interface ExecutorTargets {
  /** The unit, as the sender of messages. */
  readonly unit: IommuHardware;
  readonly caps: Capabilities;
  readonly caches: TranslationCaches;
  readonly root: RootComplex;
  readonly trace: Trace;
  /** The tracker of device-TLB invalidations. */
  devices(): DeviceTlbs;
}

/**
 * Executes valid descriptors. An invalidation of the unit's own caches is done at once; one of a device-TLB is sent and
 * tracked.
 *
 * Source: VT-d 5.10 §6.5.2.
 */
export class Executor implements DescriptorExecutor {
  readonly #targets: ExecutorTargets;

  constructor(targets: ExecutorTargets) {
    this.#targets = targets;
  }

  execute(words: Words, type: number, submit: number): boolean {
    switch (type) {
      case DEV_TLB_INV:
        return this.#sendDeviceTlb(words, getBits(words, 47, 32), NO_PASID, submit);
      case P_DEV_TLB_INV:
        return this.#sendDeviceTlb(words, getBits(words, 31, 16), getBits(words, 51, 32), submit);
      case CC_INV:
        this.#contextCache(words);
        break;
      case IOTLB_INV:
        this.#iotlb(words);
        break;
      case P_IOTLB_INV:
        this.#pasidIotlb(words);
        break;
      case PC_INV:
        this.#pasidCache(words);
        break;
      case PAGE_GRP_RESP:
        this.#pageResponse(words);
        break;
      case HPT_INV:
        this.#hostPermissions(words);
        break;
      default:
        // An interrupt entry cache invalidation: interrupt remapping tables are not part of the model.
        break;
    }
    this.#report(type, submit, "completed");
    return true;
  }

  #contextCache(words: Words): void {
    const { caches } = this.#targets;
    const granularity = getBits(words, 5, 4);
    const domainId = getBits(words, 31, 16);
    if (granularity === GRANULARITY_GLOBAL) {
      caches.clearContexts();
    } else if (granularity === GRANULARITY_DOMAIN) {
      caches.invalidateContextsOfDomain(domainId);
    } else {
      caches.invalidateContextsOfDevice(getBits(words, 47, 32), getBits(words, 49, 48), domainId);
    }
  }

  #iotlb(words: Words): void {
    const { caches } = this.#targets;
    const granularity = getBits(words, 5, 4);
    const domainId = getBits(words, 31, 16);
    if (granularity === GRANULARITY_GLOBAL) {
      caches.clearTranslations();
    } else if (granularity === GRANULARITY_DOMAIN) {
      caches.invalidateDomain(domainId);
    } else {
      const { page, order } = iotlbRange(words);
      caches.invalidatePages(domainId, page, order, getBit(words, 70));
    }
  }

  #pasidIotlb(words: Words): void {
    const { caches } = this.#targets;
    const domainId = getBits(words, 31, 16);
    const pasid = getBits(words, 51, 32);
    if (getBits(words, 5, 4) === GRANULARITY_PASID) {
      caches.invalidatePasid(domainId, pasid);
    } else {
      const { page, order } = iotlbRange(words);
      caches.invalidatePasidPages(domainId, pasid, page, order, getBit(words, 70));
    }
  }

  #pasidCache(words: Words): void {
    const { caches } = this.#targets;
    const granularity = getBits(words, 5, 4);
    const domainId = getBits(words, 31, 16);
    if (granularity === PC_GLOBAL) {
      caches.pasids.clear();
    } else {
      caches.invalidatePasids(domainId, granularity === PC_PASID ? getBits(words, 51, 32) : undefined);
    }
  }

  #hostPermissions(words: Words): void {
    const { permissions } = this.#targets.caches;
    const granularity = getBits(words, 5, 4);
    const domainId = getBits(words, 31, 16);
    if (granularity === GRANULARITY_GLOBAL) {
      permissions.clear();
    } else if (granularity === GRANULARITY_DOMAIN) {
      permissions.invalidate(domainId);
    } else {
      const { page, order } = iotlbRange(words);
      permissions.invalidate(domainId, page, order);
    }
  }

  #sendDeviceTlb(words: Words, rid: number, pasid: number, submit: number): boolean {
    const { unit, caps, root } = this.#targets;
    const withPasid = pasid !== NO_PASID;
    const type = withPasid ? P_DEV_TLB_INV : DEV_TLB_INV;
    const maxPending = withPasid ? getBits(words, 8, 4) : getBits(words, 20, 16);
    const physical = getBits(words, 63, 52) * 16 + getBits(words, 15, 12);
    const throttle = caps.dit ? physical : rid;
    const opcode = descriptorName(type);
    const itag = this.#targets.devices().take(rid, throttle, maxPending === 0 ? 32 : maxPending, submit, opcode);
    if (itag < 0) {
      return false;
    }
    const { page, order } = deviceTlbRange(words, withPasid ? 75 : 64);
    const global = withPasid && getBit(words, 64);
    root.sendInvalidate(unit, rid, itag, pasid, page, order + 12, global, submit);
    return true;
  }

  #pageResponse(words: Words): void {
    const { unit, root } = this.#targets;
    const pasid = getBit(words, 4) ? getBits(words, 51, 32) : NO_PASID;
    root.sendPageResponse(unit, getBits(words, 31, 16), pasid, getBits(words, 75, 67), getBits(words, 15, 12));
  }

  #report(type: number, submit: number, result: string): void {
    const { trace, unit } = this.#targets;
    if (trace.active) {
      trace.emit("command:complete", { iommu: unit.name, opcode: descriptorName(type), submit, result }, submit);
    }
  }
}
