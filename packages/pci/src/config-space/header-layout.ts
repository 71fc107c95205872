import { type CapabilityLayout, type RegisterLayout, bit, field, register, whole } from "./register-layout.ts";

/** Registers that headers of every type have (PCIe 6.0 §7.5.1.1). */
const common: readonly RegisterLayout[] = [
  whole("vendorId", 0x00, 2, "HwInit", "who made the function"),
  whole("deviceId", 0x02, 2, "HwInit", "which function of that vendor"),
  register("command", 0x04, 2, [
    bit("ioSpace", 0, "RW", "answers to I/O addresses"),
    bit("memorySpace", 1, "RW", "answers to memory addresses"),
    bit("busMaster", 2, "RW", "may send memory and I/O requests, MSI among them"),
    bit("parityErrorResponse", 6, "RW", "reports poisoned data"),
    bit("serrEnable", 8, "RW", "reports errors upwards"),
    bit("interruptDisable", 10, "RW", "sends no INTx"),
  ]),
  register("status", 0x06, 2, [
    bit("interruptStatus", 3, "RO", "an INTx is pending", { reset: 0 }),
    bit("capabilitiesList", 4, "RO", "has a capability list"),
    bit("capable66", 5, "RO", "can do 66 MHz"),
    bit("fastBackToBack", 7, "RO", "takes fast back-to-back transactions"),
    bit("masterDataParityError", 8, "RW1C", "poisoned data was sent or received"),
    field("deviceSelectTiming", 10, 9, "RO", "0 fast, 1 medium, 2 slow"),
    bit("signaledTargetAbort", 11, "RW1C", "a request was completed with CA"),
    bit("receivedTargetAbort", 12, "RW1C", "a completion with CA came"),
    bit("receivedMasterAbort", 13, "RW1C", "a completion with UR came"),
    bit("signaledSystemError", 14, "RW1C", "ERR_FATAL or ERR_NONFATAL was sent"),
    bit("detectedParityError", 15, "RW1C", "a poisoned TLP came"),
  ]),
  whole("revisionId", 0x08, 1, "HwInit", "revision of the function"),
  register("classCode", 0x09, 1, [field("programmingInterface", 7, 0, "HwInit", "programming interface")]),
  whole("subClass", 0x0a, 1, "HwInit", "sub-class"),
  whole("baseClass", 0x0b, 1, "HwInit", "base class"),
  whole("cacheLineSize", 0x0c, 1, "RW", "cache line in dwords; no effect on PCI Express"),
  whole("latencyTimer", 0x0d, 1, "RO", "of conventional PCI"),
  register("headerType", 0x0e, 1, [
    field("layout", 6, 0, "RO", "0 function, 1 bridge, 2 CardBus"),
    bit("multiFunction", 7, "RO", "the device has several functions"),
  ]),
  register("bist", 0x0f, 1, [
    field("completionCode", 3, 0, "RO", "result of the self-test"),
    bit("capable", 7, "RO", "has a self-test"),
  ]),
  whole("interruptLine", 0x3c, 1, "RW", "a note of software's"),
  whole("interruptPin", 0x3d, 1, "RO", "which INTx: 1 A to 4 D"),
];

/** Base address registers, as many as a header has. Which of their bits can be written, their values tell: {@link baseAddressMask}. */
function bars(count: number): RegisterLayout[] {
  return Array.from({ length: count }, (_, index) =>
    whole(`bar${index}`, 0x10 + 4 * index, 4, "RO", "base address; writable where in use"),
  );
}

/** Header of an endpoint (PCIe 6.0 §7.5.1.2). */
export const TYPE0_HEADER: CapabilityLayout = {
  registers: [
    ...common,
    ...bars(6),
    whole("cardBusCis", 0x28, 4, "RO", "of CardBus"),
    whole("subsystemVendorId", 0x2c, 2, "HwInit", "who made the board"),
    whole("subsystemId", 0x2e, 2, "HwInit", "which board"),
    whole("romBar", 0x30, 4, "RO", "expansion ROM; writable where in use"),
    whole("capabilitiesPointer", 0x34, 1, "RO", "where the capability list starts"),
    whole("minGnt", 0x3e, 1, "RO", "of conventional PCI"),
    whole("maxLat", 0x3f, 1, "RO", "of conventional PCI"),
  ],
};

/** Header of a root port, switch port or bridge (PCIe 6.0 §7.5.1.3). */
export const TYPE1_HEADER: CapabilityLayout = {
  registers: [
    ...common,
    ...bars(2),
    whole("primaryBus", 0x18, 1, "RW", "the bus it is on"),
    whole("secondaryBus", 0x19, 1, "RW", "the bus right below"),
    whole("subordinateBus", 0x1a, 1, "RW", "the highest bus below"),
    whole("secondaryLatencyTimer", 0x1b, 1, "RO", "of conventional PCI"),
    register("ioBase", 0x1c, 1, [
      field("addressing", 3, 0, "RO", "1 = 32 bits"),
      field("base", 7, 4, "RW", "I/O window, bits 15:12"),
    ]),
    register("ioLimit", 0x1d, 1, [
      field("addressing", 3, 0, "RO", "1 = 32 bits"),
      field("limit", 7, 4, "RW", "its last address, bits 15:12"),
    ]),
    register("secondaryStatus", 0x1e, 2, [
      bit("capable66", 5, "RO", "can do 66 MHz"),
      bit("fastBackToBack", 7, "RO", "takes fast back-to-back transactions"),
      bit("masterDataParityError", 8, "RW1C", "poisoned data was sent or received below"),
      field("deviceSelectTiming", 10, 9, "RO", "0 fast, 1 medium, 2 slow"),
      bit("signaledTargetAbort", 11, "RW1C", "a request from below was completed with CA"),
      bit("receivedTargetAbort", 12, "RW1C", "a completion with CA came from below"),
      bit("receivedMasterAbort", 13, "RW1C", "a completion with UR came from below"),
      bit("receivedSystemError", 14, "RW1C", "ERR_FATAL or ERR_NONFATAL came from below"),
      bit("detectedParityError", 15, "RW1C", "a poisoned TLP came from below"),
    ]),
    register("memoryBase", 0x20, 2, [field("base", 15, 4, "RW", "memory window, bits 31:20")]),
    register("memoryLimit", 0x22, 2, [field("limit", 15, 4, "RW", "its last address, bits 31:20")]),
    register("prefetchableBase", 0x24, 2, [
      field("addressing", 3, 0, "RO", "1 = 64 bits"),
      field("base", 15, 4, "RW", "prefetchable window, bits 31:20"),
    ]),
    register("prefetchableLimit", 0x26, 2, [
      field("addressing", 3, 0, "RO", "1 = 64 bits"),
      field("limit", 15, 4, "RW", "its last address, bits 31:20"),
    ]),
    register("prefetchableBaseUpper", 0x28, 4, [field("base", 31, 0, "RW", "prefetchable window, bits 63:32")]),
    register("prefetchableLimitUpper", 0x2c, 4, [field("limit", 31, 0, "RW", "its last address, bits 63:32")]),
    register("ioBaseUpper", 0x30, 2, [field("base", 15, 0, "RW", "I/O window, bits 31:16")]),
    register("ioLimitUpper", 0x32, 2, [field("limit", 15, 0, "RW", "its last address, bits 31:16")]),
    whole("capabilitiesPointer", 0x34, 1, "RO", "where the capability list starts"),
    whole("romBar", 0x38, 4, "RO", "expansion ROM; writable where in use"),
    register("bridgeControl", 0x3e, 2, [
      bit("parityErrorResponse", 0, "RW", "reports poisoned data from below"),
      bit("serrEnable", 1, "RW", "passes errors from below upwards"),
      bit("isaEnable", 2, "RW", "leaves out what ISA decodes"),
      bit("vgaEnable", 3, "RW", "passes VGA addresses down"),
      bit("vga16BitDecode", 4, "RW", "decodes VGA addresses to 16 bits"),
      bit("secondaryBusReset", 6, "RW", "resets everything below"),
    ]),
  ],
};

/** Header of a CardBus bridge (PC Card Standard 8, §4.5.3.1), without its windows. */
const TYPE2_HEADER: CapabilityLayout = {
  registers: [
    ...common,
    whole("bar0", 0x10, 4, "RO", "base address of the socket registers; writable where in use"),
    whole("capabilitiesPointer", 0x14, 1, "RO", "where the capability list starts"),
    whole("primaryBus", 0x18, 1, "RW", "the bus it is on"),
    whole("secondaryBus", 0x19, 1, "RW", "the CardBus right below"),
    whole("subordinateBus", 0x1a, 1, "RW", "the highest bus below"),
    whole("secondaryLatencyTimer", 0x1b, 1, "RW", "of the CardBus"),
    register("bridgeControl", 0x3e, 2, [
      bit("parityErrorResponse", 0, "RW", "reports parity errors from below"),
      bit("serrEnable", 1, "RW", "passes errors from below upwards"),
      bit("isaEnable", 2, "RW", "leaves out what ISA decodes"),
      bit("vgaEnable", 3, "RW", "passes VGA addresses down"),
      bit("secondaryBusReset", 6, "RW", "resets everything below"),
    ]),
  ],
};

/** A header of another type (0x7f is a function that does not answer): only what all types share. */
const OTHER_HEADER: CapabilityLayout = { registers: common };

/** The layout of a header, by bits 6:0 of the Header Type register. */
export function headerLayout(headerType: number): CapabilityLayout {
  if (headerType === 0) {
    return TYPE0_HEADER;
  }
  if (headerType === 1) {
    return TYPE1_HEADER;
  }
  return headerType === 2 ? TYPE2_HEADER : OTHER_HEADER;
}

/** Where a header of this type has base address registers, and its expansion ROM register. */
export function baseAddressOffsets(headerType: number): { bars: readonly number[]; rom: number } {
  if (headerType === 0) {
    return { bars: [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24], rom: 0x30 };
  }
  if (headerType === 1) {
    return { bars: [0x10, 0x14], rom: 0x38 };
  }
  return { bars: headerType === 2 ? [0x10] : [], rom: 0 };
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
