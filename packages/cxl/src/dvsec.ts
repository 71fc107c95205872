import {
  CXL_DVSEC_DEVICE,
  type ConfigSpace,
  DVSEC_VENDOR_CXL,
  type DecodedFields,
  EXT_CAP_ID_DVSEC,
  decodeCapability,
} from "@iommu-lab/pci";

/** The PCIe DVSEC for CXL devices of one function, decoded (CXL 3.1 §8.1.3). */
export interface CxlDeviceDvsec {
  /** Byte offset of the DVSEC. */
  readonly offset: number;
  /** DVSEC revision: 0 for CXL 1.1, 1 for 2.0, 2 and 3 for 3.x. */
  readonly revision: number;
  /** Cache_Capable: the device reaches host memory by CXL.cache. Linux 7.2 `pci_ats_required()` reads this bit. */
  readonly cacheCapable: boolean;
  /** IO_Capable. */
  readonly ioCapable: boolean;
  /** Mem_Capable. */
  readonly memCapable: boolean;
  /** Mem_HwInit_Mode: hardware or firmware initialises CXL.mem. */
  readonly memHwInit: boolean;
  /** HDM_Count, 0 to 2 (3 is reserved). */
  readonly hdmCount: number;
  /** Cache Writeback and Invalidate Capable. */
  readonly cacheWritebackInvalidateCapable: boolean;
  /** CXL_Reset_Capable. */
  readonly resetCapable: boolean;
  /** How long a CXL reset may take, in milliseconds; undefined for a reserved code. */
  readonly resetTimeoutMs: number | undefined;
  /** CXL_Reset_Mem_Clr_Capable. */
  readonly resetMemClearCapable: boolean;
  /** Viral_Capable. */
  readonly viralCapable: boolean;
  /** Cache_Enable. */
  readonly cacheEnable: boolean;
  /** IO_Enable. */
  readonly ioEnable: boolean;
  /** Mem_Enable. */
  readonly memEnable: boolean;
  /** Viral_Enable. */
  readonly viralEnable: boolean;
  /** Disable_Caching. */
  readonly disableCaching: boolean;
  /** Cache_Invalid: the device's cache holds nothing. */
  readonly cacheInvalid: boolean;
  /** CXL_Reset_Complete. */
  readonly resetComplete: boolean;
  /** CXL_Reset_Error. */
  readonly resetError: boolean;
  /** CONFIG_LOCK: the RWL fields are frozen until a conventional reset. */
  readonly configLock: boolean;
}

/** CXL device type, by the protocols beside CXL.io (CXL 3.1 §2.1). */
export type CxlDeviceType = 1 | 2 | 3;

const resetTimeoutsMs = [10, 100, 1_000, 10_000, 100_000] as const;

/**
 * Decodes the PCIe DVSEC for CXL devices as its bytes stand now, or undefined when the function has none. Only DVSEC
 * vendor 1e98 with id 0 counts: the same registers under another vendor (early devices used their own) are not CXL, as
 * for Linux 7.2 `pci_find_dvsec_capability()`.
 */
export function cxlDeviceDvsec(config: ConfigSpace): CxlDeviceDvsec | undefined {
  const offset = config.findDvsec(DVSEC_VENDOR_CXL, CXL_DVSEC_DEVICE);
  if (offset === 0) {
    return undefined;
  }
  const fields = decodeCapability(config, { id: EXT_CAP_ID_DVSEC, offset, extended: true, version: 1 });
  return {
    offset,
    revision: value(fields, "header1.revision"),
    cacheCapable: flag(fields, "capability.cacheCapable"),
    ioCapable: flag(fields, "capability.ioCapable"),
    memCapable: flag(fields, "capability.memCapable"),
    memHwInit: flag(fields, "capability.memHwInit"),
    hdmCount: value(fields, "capability.hdmCount"),
    cacheWritebackInvalidateCapable: flag(fields, "capability.cacheWritebackInvalidateCapable"),
    resetCapable: flag(fields, "capability.cxlResetCapable"),
    resetTimeoutMs: resetTimeoutsMs[value(fields, "capability.cxlResetTimeout")],
    resetMemClearCapable: flag(fields, "capability.cxlResetMemClearCapable"),
    viralCapable: flag(fields, "capability.viralCapable"),
    cacheEnable: flag(fields, "control.cacheEnable"),
    ioEnable: flag(fields, "control.ioEnable"),
    memEnable: flag(fields, "control.memEnable"),
    viralEnable: flag(fields, "control.viralEnable"),
    disableCaching: flag(fields, "control2.disableCaching"),
    cacheInvalid: flag(fields, "status2.cacheInvalid"),
    resetComplete: flag(fields, "status2.cxlResetComplete"),
    resetError: flag(fields, "status2.cxlResetError"),
    configLock: flag(fields, "lock.configLock"),
  };
}

/**
 * The device type that the capable protocols make: cache 1, cache and memory 2, memory 3; undefined without either.
 */
export function cxlDeviceType(dvsec: Pick<CxlDeviceDvsec, "cacheCapable" | "memCapable">): CxlDeviceType | undefined {
  if (dvsec.cacheCapable) {
    return dvsec.memCapable ? 2 : 1;
  }
  return dvsec.memCapable ? 3 : undefined;
}

function value(fields: DecodedFields, name: string): number {
  return fields[name] ?? 0;
}

function flag(fields: DecodedFields, name: string): boolean {
  return value(fields, name) === 1;
}
