/**
 * CXL devices: what their DVSECs say, and the CXL.cache path to memory.
 *
 * @packageDocumentation
 */
export { CxlCache } from "./cxl-cache.ts";
export { type CxlDeviceDvsec, type CxlDeviceType, cxlDeviceDvsec, cxlDeviceType } from "./dvsec.ts";
export { type CxlFirmwareOptions, enableCxl } from "./firmware.ts";
export { CXL_CACHES, cxl, cxlCache } from "./plugin.ts";
