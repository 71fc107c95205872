import { type CapabilityLayout, type RegisterLayout, bit, field, register } from "./register-layout.ts";

/** Registers that headers of every type have (PCIe 6.0 §7.5.1.1). */
const common: readonly RegisterLayout[] = [
  register("vendorId", 0x00, 2, [field("vendorId", 15, 0, "RO")]),
  register("deviceId", 0x02, 2, [field("deviceId", 15, 0, "RO")]),
  register("command", 0x04, 2, [
    bit("ioSpace", 0, "RW"),
    bit("memorySpace", 1, "RW"),
    bit("busMaster", 2, "RW"),
    bit("parityErrorResponse", 6, "RW"),
    bit("serrEnable", 8, "RW"),
    bit("interruptDisable", 10, "RW"),
  ]),
  register("status", 0x06, 2, [
    bit("interruptStatus", 3, "RO", { reset: 0 }),
    bit("capabilitiesList", 4, "RO"),
    bit("masterDataParityError", 8, "RW1C"),
    bit("signaledTargetAbort", 11, "RW1C"),
    bit("receivedTargetAbort", 12, "RW1C"),
    bit("receivedMasterAbort", 13, "RW1C"),
    bit("signaledSystemError", 14, "RW1C"),
    bit("detectedParityError", 15, "RW1C"),
  ]),
  register("revisionId", 0x08, 1, [field("revisionId", 7, 0, "RO")]),
  register("classCode", 0x09, 1, [field("programmingInterface", 7, 0, "RO")]),
  register("subClass", 0x0a, 1, [field("subClass", 7, 0, "RO")]),
  register("baseClass", 0x0b, 1, [field("baseClass", 7, 0, "RO")]),
  register("cacheLineSize", 0x0c, 1, [field("cacheLineSize", 7, 0, "RW")]),
  register("latencyTimer", 0x0d, 1, [field("latencyTimer", 7, 0, "RO")]),
  register("headerType", 0x0e, 1, [field("layout", 6, 0, "RO"), bit("multiFunction", 7, "RO")]),
  register("interruptLine", 0x3c, 1, [field("interruptLine", 7, 0, "RW")]),
  register("interruptPin", 0x3d, 1, [field("interruptPin", 7, 0, "RO")]),
];

/** Header of an endpoint (PCIe 6.0 §7.5.1.2). The base addresses are not in the table: see `baseAddressMask`. */
const TYPE0_HEADER: CapabilityLayout = {
  registers: [
    ...common,
    register("subsystemVendorId", 0x2c, 2, [field("subsystemVendorId", 15, 0, "RO")]),
    register("subsystemId", 0x2e, 2, [field("subsystemId", 15, 0, "RO")]),
    register("capabilitiesPointer", 0x34, 1, [field("capabilitiesPointer", 7, 0, "RO")]),
  ],
};

/** Header of a root port, switch port or bridge (PCIe 6.0 §7.5.1.3). */
const TYPE1_HEADER: CapabilityLayout = {
  registers: [
    ...common,
    register("primaryBus", 0x18, 1, [field("primaryBus", 7, 0, "RW")]),
    register("secondaryBus", 0x19, 1, [field("secondaryBus", 7, 0, "RW")]),
    register("subordinateBus", 0x1a, 1, [field("subordinateBus", 7, 0, "RW")]),
    register("ioBase", 0x1c, 1, [field("addressing", 3, 0, "RO"), field("base", 7, 4, "RW")]),
    register("ioLimit", 0x1d, 1, [field("addressing", 3, 0, "RO"), field("limit", 7, 4, "RW")]),
    register("secondaryStatus", 0x1e, 2, [
      bit("masterDataParityError", 8, "RW1C"),
      bit("signaledTargetAbort", 11, "RW1C"),
      bit("receivedTargetAbort", 12, "RW1C"),
      bit("receivedMasterAbort", 13, "RW1C"),
      bit("receivedSystemError", 14, "RW1C"),
      bit("detectedParityError", 15, "RW1C"),
    ]),
    register("memoryBase", 0x20, 2, [field("base", 15, 4, "RW")]),
    register("memoryLimit", 0x22, 2, [field("limit", 15, 4, "RW")]),
    register("prefetchableBase", 0x24, 2, [field("addressing", 3, 0, "RO"), field("base", 15, 4, "RW")]),
    register("prefetchableLimit", 0x26, 2, [field("addressing", 3, 0, "RO"), field("limit", 15, 4, "RW")]),
    register("prefetchableBaseUpper", 0x28, 4, [field("base", 31, 0, "RW")]),
    register("prefetchableLimitUpper", 0x2c, 4, [field("limit", 31, 0, "RW")]),
    register("ioBaseUpper", 0x30, 2, [field("base", 15, 0, "RW")]),
    register("ioLimitUpper", 0x32, 2, [field("limit", 15, 0, "RW")]),
    register("capabilitiesPointer", 0x34, 1, [field("capabilitiesPointer", 7, 0, "RO")]),
    register("bridgeControl", 0x3e, 2, [
      bit("parityErrorResponse", 0, "RW"),
      bit("serrEnable", 1, "RW"),
      bit("isaEnable", 2, "RW"),
      bit("vgaEnable", 3, "RW"),
      bit("vga16BitDecode", 4, "RW"),
      bit("secondaryBusReset", 6, "RW"),
    ]),
  ],
};

/** A header of another type (2 is CardBus, 0x7f a function that does not answer): only what all types share. */
const OTHER_HEADER: CapabilityLayout = { registers: common };

/** The layout of a header, by bits 6:0 of the Header Type register. */
export function headerLayout(headerType: number): CapabilityLayout {
  if (headerType === 0) {
    return TYPE0_HEADER;
  }
  return headerType === 1 ? TYPE1_HEADER : OTHER_HEADER;
}

/** Where a header of this type has base address registers, and its expansion ROM register. */
export function baseAddressOffsets(headerType: number): { bars: readonly number[]; rom: number } {
  if (headerType === 0) {
    return { bars: [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24], rom: 0x30 };
  }
  return headerType === 1 ? { bars: [0x10, 0x14], rom: 0x38 } : { bars: [], rom: 0 };
}

/**
 * The writable bits of a base address register, from its value. A dump does not tell the size, so every address bit from
 * the lowest one in use upwards is writable: what firmware assigned can be written back, and an unused register
 * (address 0) stays hard-wired.
 *
 * @param value - the register, or its lower half when it is 64 bits wide
 * @param flagBits - how many low bits are not address: 4 for memory, 2 for I/O, 11 for an expansion ROM
 */
export function baseAddressMask(value: number, flagBits: number): number {
  const address = (value & ~(2 ** flagBits - 1)) >>> 0;
  // The lowest set bit and everything above it.
  return address === 0 ? 0 : -(address & -address) >>> 0;
}
