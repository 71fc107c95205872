/**
 * CXL devices: what their DVSECs say, and the CXL.cache path to memory.
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
export { type CxlDeviceDvsec, type CxlDeviceType, cxlDeviceDvsec, cxlDeviceType } from "./dvsec.ts";
export { type CxlFirmwareOptions, enableCxl } from "./firmware.ts";
export { CXL_CACHES, cxl, cxlCache } from "./plugin.ts";
