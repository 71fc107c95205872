import {
  type CapabilityLayout,
  type RegisterLayout,
  type RegisterReader,
  bit,
  field,
  register,
} from "./register-layout.ts";

/** The DVSEC vendor id of the CXL consortium. */
export const DVSEC_VENDOR_CXL: number = 0x1e98;
/** DVSEC id of a CXL device (CXL 3.1 §8.1.3). */
export const CXL_DVSEC_DEVICE: number = 0;
/** DVSEC id of the CXL extensions for ports (CXL 3.1 §8.1.5). */
export const CXL_DVSEC_PORT: number = 3;
/** DVSEC id of a Flex Bus port (CXL 3.1 §8.2.1.3). */
export const CXL_DVSEC_FLEX_BUS: number = 7;

/** The two header registers that every DVSEC has (PCIe 6.0 §7.9.6). */
const dvsecHeader: readonly RegisterLayout[] = [
  register("header1", 4, 4, [
    field("vendor", 15, 0, "RO"),
    field("revision", 19, 16, "RO"),
    field("length", 31, 20, "RO"),
  ]),
  register("header2", 8, 2, [field("id", 15, 0, "RO")]),
];

/** Registers that a DVSEC has only when its length covers them. */
function within(end: number): (config: RegisterReader, at: number) => boolean {
  return (config, at) => config.read16(at + 6) >>> 4 >= end;
}

/** A DVSEC whose body the model does not know. */
const DVSEC_LAYOUT: CapabilityLayout = { registers: dvsecHeader };

/**
 * PCIe DVSEC for CXL devices (CXL 3.1 §8.1.3). An FLR leaves CXL.cache and CXL.mem state alone; CONFIG_LOCK freezes the
 * RWL fields until a conventional reset.
 */
const CXL_DEVICE_LAYOUT: CapabilityLayout = {
  lock: { offset: 0x14, bit: 0 },
  registers: [
    ...dvsecHeader,
    register("capability", 0xa, 2, [
      bit("cacheCapable", 0, "RO"),
      bit("ioCapable", 1, "RO"),
      bit("memCapable", 2, "RO"),
      bit("memHwInit", 3, "RO"),
      field("hdmCount", 5, 4, "RO"),
      bit("cacheWritebackInvalidateCapable", 6, "RO"),
      bit("cxlResetCapable", 7, "RO"),
      field("cxlResetTimeout", 10, 8, "RO"),
      bit("cxlResetMemClearCapable", 11, "RO"),
      bit("tspCapable", 12, "RO"),
      bit("multipleLogicalDevice", 13, "RO"),
      bit("viralCapable", 14, "RO"),
      bit("pmInitCompletionReporting", 15, "RO"),
    ]),
    register("control", 0xc, 2, [
      bit("cacheEnable", 0, "RWL", { survives: "flr", needs: { offset: 0xa, bit: 0 } }),
      bit("ioEnable", 1, "RO"),
      bit("memEnable", 2, "RWL", { survives: "flr", needs: { offset: 0xa, bit: 2 } }),
      field("snoopFilterCoverage", 7, 3, "RWL", { survives: "flr" }),
      field("snoopFilterGranularity", 10, 8, "RWL", { survives: "flr" }),
      bit("cleanEviction", 11, "RWL", { survives: "flr" }),
      bit("viralEnable", 14, "RWL", { survives: "flr", needs: { offset: 0xb, bit: 6 } }),
    ]),
    // Its capability bit is in a register that shorter revisions lack.
    register(
      "control",
      0xc,
      2,
      [bit("p2pMemEnable", 12, "RWL", { survives: "flr", needs: { offset: 0x38, bit: 4 } })],
      within(0x3a),
    ),
    register("status", 0xe, 2, [bit("viralStatus", 14, "RW1C", { survives: "conventional" })]),
    register("control2", 0x10, 2, [
      bit("disableCaching", 0, "RW", { survives: "flr" }),
      bit("initiateCacheWritebackInvalidate", 1, "W1", { needs: { offset: 0xa, bit: 6 } }),
      bit("initiateCxlReset", 2, "W1", { needs: { offset: 0xa, bit: 7 } }),
      bit("cxlResetMemClearEnable", 3, "RW", { survives: "flr", needs: { offset: 0xb, bit: 3 } }),
      bit("desiredVolatileHdmState", 4, "RW", { survives: "flr" }),
      bit("modifiedCompletionEnable", 5, "RW", { survives: "flr", needs: { offset: 0x16, bit: 6 } }),
    ]),
    register("status2", 0x12, 2, [
      bit("cacheInvalid", 0, "RO"),
      bit("cxlResetComplete", 1, "RO"),
      bit("cxlResetError", 2, "RO"),
      bit("volatileHdmPreservationError", 3, "RW1C", { survives: "flr" }),
      bit("pmInitializationComplete", 15, "RO"),
    ]),
    register("lock", 0x14, 2, [bit("configLock", 0, "RWO", { survives: "flr" })]),
    register("capability2", 0x16, 2, [
      field("cacheSizeUnit", 3, 0, "RO"),
      field("fallbackCapability", 5, 4, "RO"),
      bit("modifiedCompletionCapable", 6, "RO"),
      bit("noCleanWriteback", 7, "RO"),
      field("cacheSize", 15, 8, "RO"),
    ]),
    ...[1, 2].flatMap((range): RegisterLayout[] => {
      const at = 0x18 + 0x10 * (range - 1);
      return [
        register(`range${range}SizeHigh`, at, 4, [field("size", 31, 0, "RO")], within(at + 4)),
        register(
          `range${range}SizeLow`,
          at + 4,
          4,
          [
            bit("memoryInfoValid", 0, "RO"),
            bit("memoryActive", 1, "RO"),
            field("mediaType", 4, 2, "RO"),
            field("memoryClass", 7, 5, "RO"),
            field("desiredInterleave", 12, 8, "RO"),
            field("memoryActiveTimeout", 15, 13, "RO"),
            field("size", 31, 28, "RO"),
          ],
          within(at + 8),
        ),
        register(
          `range${range}BaseHigh`,
          at + 8,
          4,
          [field("base", 31, 0, "RWL", { survives: "flr" })],
          within(at + 12),
        ),
        register(
          `range${range}BaseLow`,
          at + 12,
          4,
          [field("base", 31, 28, "RWL", { survives: "flr" })],
          within(at + 16),
        ),
      ];
    }),
    register(
      "capability3",
      0x38,
      2,
      [field("volatileHdmState", 3, 0, "RO"), bit("p2pMemCapable", 4, "RO")],
      within(0x3a),
    ),
  ],
};

/** CXL extensions for ports (CXL 3.1 §8.1.5): whether a secondary bus reset reaches the device below. */
const CXL_PORT_LAYOUT: CapabilityLayout = {
  registers: [
    ...dvsecHeader,
    register("status", 0xa, 2, [bit("powerManagementInitComplete", 0, "RO"), bit("viralStatus", 14, "RW1C")]),
    register("control", 0xc, 2, [
      bit("unmaskSbr", 0, "RW"),
      bit("unmaskLinkDisable", 1, "RW"),
      bit("alternateMemoryAndIdSpace", 2, "RW"),
      bit("alternateBme", 3, "RW"),
      bit("viralEnable", 14, "RW"),
    ]),
    register("alternateBusBase", 0xe, 1, [field("base", 7, 0, "RW")]),
    register("alternateBusLimit", 0xf, 1, [field("limit", 7, 0, "RW")]),
    register("alternateMemoryBase", 0x10, 2, [field("base", 15, 4, "RW")]),
    register("alternateMemoryLimit", 0x12, 2, [field("limit", 15, 4, "RW")]),
  ],
};

/** Flex Bus port (CXL 3.1 §8.2.1.3): which protocols the link trained. */
const CXL_FLEX_BUS_LAYOUT: CapabilityLayout = {
  registers: [
    ...dvsecHeader,
    register("capability", 0xa, 2, [
      bit("cacheCapable", 0, "RO"),
      bit("ioCapable", 1, "RO"),
      bit("memCapable", 2, "RO"),
      bit("flit68AndVhCapable", 5, "RO"),
    ]),
    register("control", 0xc, 2, [
      bit("cacheEnable", 0, "RO"),
      bit("ioEnable", 1, "RO"),
      bit("memEnable", 2, "RO"),
      bit("flit68AndVhEnable", 5, "RO"),
    ]),
    register("status", 0xe, 2, [
      bit("cacheEnabled", 0, "RO"),
      bit("ioEnabled", 1, "RO"),
      bit("memEnabled", 2, "RO"),
      bit("flit68AndVhEnabled", 5, "RO"),
    ]),
  ],
};

/** The layout of a DVSEC by its vendor and id. A DVSEC of another vendor is not CXL, whatever its shape. */
export function dvsecLayout(vendor: number, id: number): CapabilityLayout {
  if (vendor !== DVSEC_VENDOR_CXL) {
    return DVSEC_LAYOUT;
  }
  if (id === CXL_DVSEC_DEVICE) {
    return CXL_DEVICE_LAYOUT;
  }
  if (id === CXL_DVSEC_PORT) {
    return CXL_PORT_LAYOUT;
  }
  return id === CXL_DVSEC_FLEX_BUS ? CXL_FLEX_BUS_LAYOUT : DVSEC_LAYOUT;
}
