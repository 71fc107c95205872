/**
 * CXL devices: what their DVSECs and firmware's tables say, the CXL.cache path to memory, and CXL reset.
 *
 * @packageDocumentation
 */
export {
  type CedtEventCollector,
  type CedtHostBridge,
  type CedtMemoryWindow,
  type CedtRestrictions,
  type CedtStructure,
  type CedtTable,
  type CedtUnknown,
  type CedtWarning,
  type CedtXorMath,
  parseCedt,
} from "./cedt/cedt.ts";
export { cxlLayouts } from "./cedt/cedt-codec.ts";
export { CxlCache } from "./cxl-cache.ts";
export { CxlReset, type CxlResetTimes } from "./cxl-reset.ts";
export { cxlDevice } from "./devices.ts";
export { type CxlDeviceDvsec, type CxlDeviceType, cxlDeviceDvsec, cxlDeviceType } from "./dvsec.ts";
export { type CxlFirmwareOptions, enableCxl } from "./firmware.ts";
export { CXL_CACHES, CXL_RESETS, type CxlOptions, cxl, cxlCache } from "./plugin.ts";
export { type CxlBlockKind, type CxlRegisterBlock, cxlRegisterBlocks } from "./register-locator.ts";
