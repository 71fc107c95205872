/**
 * CXL devices: what their DVSECs say, and the CXL.cache path to memory.
 *
 * @packageDocumentation
 */
export { type CxlDeviceDvsec, type CxlDeviceType, cxlDeviceDvsec, cxlDeviceType } from "./dvsec.ts";
