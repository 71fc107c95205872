import type { Op, Trace } from "@iommu-lab/core";
import { preempt } from "@iommu-lab/core";
import { CXL_DVSEC_DEVICE, DVSEC_VENDOR_CXL, type Endpoint } from "@iommu-lab/pci";

const CAPABILITY = 0xa;
const CONTROL = 0xc;
const LOCK = 0x14;

/** Cache, IO and Mem: bits 0 to 2 of both registers. */
const CACHE = 1;
const IO = 2;
const MEM = 4;

/** What firmware enables in CXL devices that can do it. */
export interface CxlFirmwareOptions {
  /** Cache_Enable. Default true. */
  readonly enableCache?: boolean;
  /** Mem_Enable. Default true. */
  readonly enableMem?: boolean;
  /** CONFIG_LOCK afterwards: software cannot change what is enabled until a reset. Default false. */
  readonly lock?: boolean;
}

/**
 * Firmware enables what each CXL device is capable of: IO_Enable always, Cache_Enable and Mem_Enable unless left off. What
 * CONFIG_LOCK has frozen stays.
 *
 * Source: CXL 3.1 §8.1.3.2.
 */
export function* enableCxl(endpoints: readonly Endpoint[], options: CxlFirmwareOptions, trace: Trace): Op<void> {
  const wanted = IO | ((options.enableCache ?? true) ? CACHE : 0) | ((options.enableMem ?? true) ? MEM : 0);
  for (const endpoint of endpoints) {
    const dvsec = endpoint.config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_DEVICE);
    if (dvsec === 0) {
      continue;
    }
    const capable = endpoint.readConfig(dvsec + CAPABILITY, 2);
    const before = endpoint.readConfig(dvsec + CONTROL, 2);
    yield preempt;
    endpoint.writeConfig(dvsec + CONTROL, 2, before | (capable & wanted));
    if (trace.active) {
      const after = endpoint.readConfig(dvsec + CONTROL, 2);
      const where = { device: endpoint.name, offset: dvsec + CONTROL, size: 2 as const };
      trace.emit("config:write", { ...where, before, after, register: "CXL Control" });
    }
    if (options.lock === true) {
      yield preempt;
      endpoint.writeConfig(dvsec + LOCK, 2, 1);
    }
  }
}
