import { type CapabilityLayout, type RegisterLayout, bit, field, register, whole } from "./register-layout.ts";

/** AGP 2.0 and AGP8X (AGP 3.0 §7). */
export const AGP_LAYOUT: CapabilityLayout = {
  registers: [
    register("version", 2, 1, [
      field("minor", 3, 0, "RO", "minor revision"),
      field("major", 7, 4, "RO", "major revision"),
    ]),
    register("status", 4, 4, [
      field("rates", 2, 0, "RO", "transfer rates: 1x, 2x, 4x"),
      bit("fastWrites", 4, "RO", "fast writes"),
      bit("address64", 5, "RO", "addresses above 4 GB"),
      bit("sideband", 9, "RO", "sideband addressing"),
      field("requestDepth", 31, 24, "RO", "requests that can be queued, less 1"),
    ]),
    register("command", 8, 4, [
      field("rate", 2, 0, "RW", "transfer rate chosen"),
      bit("fastWrites", 4, "RW", "fast writes on"),
      bit("address64", 5, "RW", "addresses above 4 GB on"),
      bit("agpEnable", 8, "RW", "AGP transactions are accepted"),
      bit("sideband", 9, "RW", "sideband addressing on"),
      field("requestDepth", 31, 24, "RW", "requests that may be queued"),
    ]),
  ],
};

/** Vital Product Data (PCIe 6.0 §7.9.18). */
export const VPD_LAYOUT: CapabilityLayout = {
  registers: [
    register("address", 2, 2, [
      field("address", 14, 0, "RW", "byte address in the VPD"),
      bit("flag", 15, "RW", "0 starts a read, 1 a write; turns over when done"),
    ]),
    whole("data", 4, 4, "RW", "four bytes of the VPD"),
  ],
};

/** Slot Identification (PCI-to-PCI Bridge 1.2 §13). */
export const SLOT_ID_LAYOUT: CapabilityLayout = {
  registers: [
    register("expansionSlot", 2, 1, [
      field("slots", 4, 0, "HwInit", "slots on the secondary bus"),
      bit("firstInChassis", 5, "HwInit", "first bridge of its chassis"),
    ]),
    whole("chassisNumber", 3, 1, "RWS", "number of the chassis"),
  ],
};

const isBridge = (config: { read8(offset: number): number }): boolean => (config.read8(0x0e) & 0x7f) === 1;
const isDevice = (config: { read8(offset: number): number }): boolean => !isBridge(config);

/** PCI-X (PCI-X 2.0 §7.2 for functions, §8.6.2 for bridges). */
export const PCIX_LAYOUT: CapabilityLayout = {
  registers: [
    register(
      "command",
      2,
      2,
      [
        bit("dataParityErrorRecovery", 0, "RW", "recovers from data parity errors"),
        bit("relaxedOrdering", 1, "RW", "may set relaxed ordering"),
        field("maxReadByteCount", 3, 2, "RW", "512 << n bytes"),
        field("maxSplitTransactions", 6, 4, "RW", "outstanding split transactions, coded"),
        field("version", 13, 12, "RO", "form of the capability"),
      ],
      isDevice,
    ),
    register(
      "secondaryStatus",
      2,
      2,
      [
        bit("device64", 0, "RO", "secondary side has 64 bits"),
        bit("capable133", 1, "RO", "secondary side can do 133 MHz"),
        field("mode", 9, 6, "RO", "mode and frequency of the secondary side"),
        field("version", 13, 12, "RO", "form of the capability"),
        bit("capable266", 14, "RO", "can do 266 MHz"),
        bit("capable533", 15, "RO", "can do 533 MHz"),
      ],
      isBridge,
    ),
    register("status", 4, 4, [
      field("function", 2, 0, "RO", "function number it was last addressed by"),
      field("device", 7, 3, "RO", "device number it was last addressed by"),
      field("bus", 15, 8, "RO", "bus number it was last addressed by"),
      bit("device64", 16, "RO", "has 64 bits"),
      bit("capable133", 17, "RO", "can do 133 MHz"),
      bit("splitCompletionDiscarded", 18, "RW1C", "a split completion was discarded"),
      bit("unexpectedSplitCompletion", 19, "RW1C", "a split completion came unasked"),
      field("designedMaximums", 28, 20, "RO", "complexity, read count, split transactions, read size"),
      bit("splitCompletionError", 29, "RW1C", "a split completion error message came"),
      bit("capable266", 30, "RO", "can do 266 MHz"),
      bit("capable533", 31, "RO", "can do 533 MHz"),
    ]),
  ],
};

const isMsiMapping = (config: { read8(offset: number): number }, at: number): boolean =>
  (config.read8(at + 3) & 0xf8) === 0xa8;

/** HyperTransport (HyperTransport 3.10 §7); the command register says which of its kinds. */
export const HYPERTRANSPORT_LAYOUT: CapabilityLayout = {
  registers: [
    register("command", 2, 2, [
      bit("enable", 0, "RW", "MSI mapping is on"),
      bit("fixed", 1, "RO", "the mapping is fixed at 0xfee00000"),
      field("type", 15, 11, "RO", "kind of capability; 0x15 MSI mapping"),
    ]),
    whole("addressLow", 4, 4, "RW", "MSI window, bits 31:20", isMsiMapping),
    whole("addressHigh", 8, 4, "RW", "MSI window, bits 63:32", isMsiMapping),
  ],
};

/** Vendor-specific capability of the standard list: the third byte is its length. */
export const VENDOR_SPECIFIC_LAYOUT: CapabilityLayout = {
  registers: [whole("length", 2, 1, "RO", "length of the capability in bytes")],
  length: (config, at) => config.read8(at + 2),
};

/** USB 2.0 Debug Port (EHCI 1.0 appendix C). */
export const DEBUG_PORT_LAYOUT: CapabilityLayout = {
  registers: [
    register("port", 2, 2, [
      field("offset", 12, 0, "RO", "offset of the registers"),
      field("bar", 15, 13, "RO", "base address register, counted from 1"),
    ]),
  ],
};

/** Subsystem ids of a bridge (PCI-to-PCI Bridge 1.2 §3.2.5.13). */
export const SUBSYSTEM_LAYOUT: CapabilityLayout = {
  registers: [
    whole("subsystemVendorId", 4, 2, "HwInit", "who made the board"),
    whole("subsystemId", 6, 2, "HwInit", "which board"),
  ],
};

/** AMD IOMMU and other secure devices (AMD I/O Virtualization 3.10 §3.3): the header of the capability block. */
export const SECURE_DEVICE_LAYOUT: CapabilityLayout = {
  registers: [
    register("header", 2, 2, [
      field("type", 2, 0, "RO", "kind of block; 3 IOMMU"),
      field("revision", 7, 3, "RO", "revision of the block"),
      bit("iotlbSupport", 8, "RO", "remote IOTLBs (ATS) are supported"),
      bit("hyperTransportTunnel", 9, "RO", "HyperTransport tunnel"),
      bit("notPresentCached", 10, "RO", "entries that are not present are cached"),
      bit("extendedFeatures", 11, "RO", "has the extended feature register"),
      bit("extendedCapability", 12, "RO", "has the second information register"),
    ]),
    register("baseLow", 4, 4, [
      bit("enable", 0, "RWO", "the registers answer at the base address; locks it"),
      field("base", 31, 14, "RO", "base address, bits 31:14"),
    ]),
    whole("baseHigh", 8, 4, "RO", "base address, bits 63:32"),
    register("range", 0xc, 4, [
      field("unitId", 4, 0, "RO", "HyperTransport unit"),
      bit("valid", 7, "RO", "the range is valid"),
      field("bus", 15, 8, "RO", "bus of the range"),
      field("firstDevice", 23, 16, "RO", "first function"),
      field("lastDevice", 31, 24, "RO", "last function"),
    ]),
    register("miscellaneous", 0x10, 4, [
      field("msiNumber", 4, 0, "RO", "MSI message of event and command interrupts"),
      field("guestVirtualAddressSize", 7, 5, "RO", "2 = 48 bits"),
      field("physicalAddressSize", 14, 8, "RO", "bits of a physical address"),
      field("virtualAddressSize", 21, 15, "RO", "bits of a virtual address"),
      bit("hyperTransportAtsReserved", 22, "RO", "the ATS address range is reserved"),
      field("msiNumberPpr", 31, 27, "RO", "MSI message of page request interrupts"),
    ]),
  ],
};

/** SATA (Serial ATA AHCI 1.3 §2.4): where the index and data registers are. */
export const SATA_LAYOUT: CapabilityLayout = {
  registers: [
    register("revision", 2, 2, [
      field("minor", 3, 0, "RO", "minor revision"),
      field("major", 7, 4, "RO", "major revision"),
    ]),
    register("location", 4, 4, [
      field("bar", 3, 0, "RO", "4 + base address register; 15 in config space"),
      field("offset", 23, 4, "RO", "offset in it, in 4 bytes"),
    ]),
  ],
};

/** Entries of Enhanced Allocation: two to five dwords each, as their first one says. */
function* eaEntries(
  config: { read8(offset: number): number; read32(offset: number): number },
  at: number,
): Generator<RegisterLayout> {
  const count = config.read8(at + 2) & 0x3f;
  let offset = isBridge(config) ? 8 : 4;
  for (let index = 0; index < count; index += 1) {
    const name = `entry${index}`;
    yield register(name, offset, 4, [
      field("size", 2, 0, "HwInit", "dwords that follow"),
      field("barEquivalent", 7, 4, "HwInit", "which base address register it stands for"),
      field("primaryProperties", 15, 8, "HwInit", "kind of resource; 0 memory, 1 prefetchable, 2 I/O, 3 and 4 of VFs"),
      field("secondaryProperties", 23, 16, "HwInit", "kind of resource to software that knows not the primary"),
      bit("writable", 30, "HwInit", "base and length can be written"),
      bit("enable", 31, "RW", "the resource is enabled", { reset: 1 }),
    ]);
    const dwords = config.read8(at + offset) & 7;
    const registers = ["base", "maxOffset", "baseHigh", "maxOffsetHigh"];
    for (let dword = 0; dword < dwords; dword += 1) {
      const part = registers[dword] ?? `dword${dword + 1}`;
      yield whole(`${name}.${part}`, offset + 4 * (dword + 1), 4, "HwInit", "address or length; bit 1 = 64 bits");
    }
    offset += 4 * (dwords + 1);
  }
}

/** Enhanced Allocation (PCIe 6.0 §7.8.5). */
export const ENHANCED_ALLOCATION_LAYOUT: CapabilityLayout = {
  registers: [
    register("numEntries", 2, 1, [field("numEntries", 5, 0, "HwInit", "entries that follow")]),
    register(
      "fixedBuses",
      4,
      4,
      [
        field("secondary", 7, 0, "HwInit", "fixed secondary bus number; 0 none"),
        field("subordinate", 15, 8, "HwInit", "fixed subordinate bus number; 0 none"),
      ],
      isBridge,
    ),
  ],
  repeated: eaEntries,
};

/** Flattening Portal Bridge (PCIe 6.0 §7.8.10), without its vectors. */
export const FPB_LAYOUT: CapabilityLayout = {
  registers: [
    register("capabilities", 4, 4, [
      bit("ridDecode", 0, "RO", "decodes requester ids by a vector"),
      bit("memLowDecode", 1, "RO", "decodes memory below 4 GB by a vector"),
      bit("memHighDecode", 2, "RO", "decodes memory above 4 GB by a vector"),
      field("numSecondaryDevices", 7, 3, "RO", "devices on the secondary bus"),
      field("ridVectorSize", 10, 8, "RO", "size of the requester id vector, coded"),
      field("memLowVectorSize", 18, 16, "RO", "size of the low memory vector, coded"),
      field("memHighVectorSize", 26, 24, "RO", "size of the high memory vector, coded"),
    ]),
  ],
};
