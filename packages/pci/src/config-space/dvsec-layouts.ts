import {
  type CapabilityLayout,
  type FieldAccess,
  type FieldLayout,
  type RegisterCondition,
  type RegisterLayout,
  type RegisterReader,
  bit,
  field,
  register,
  whole,
} from "./register-layout.ts";

/** The DVSEC vendor id of the CXL consortium. */
export const DVSEC_VENDOR_CXL: number = 0x1e98;
/** DVSEC id of a CXL device (CXL 3.1 §8.1.3). */
export const CXL_DVSEC_DEVICE: number = 0;
/** DVSEC id of the map of functions that are not CXL (CXL 3.1 §8.1.4). */
export const CXL_DVSEC_FUNCTION_MAP: number = 2;
/** DVSEC id of the CXL extensions for ports (CXL 3.1 §8.1.5). */
export const CXL_DVSEC_PORT: number = 3;
/** DVSEC id of Global Persistent Flush of a port (CXL 3.1 §8.1.6). */
export const CXL_DVSEC_PORT_GPF: number = 4;
/** DVSEC id of Global Persistent Flush of a device (CXL 3.1 §8.1.7). */
export const CXL_DVSEC_DEVICE_GPF: number = 5;
/** DVSEC id of a Flex Bus port (CXL 3.1 §8.2.1.3). */
export const CXL_DVSEC_FLEX_BUS: number = 7;
/** DVSEC id of the register locator (CXL 3.1 §8.1.9). */
export const CXL_DVSEC_REGISTER_LOCATOR: number = 8;

/** The two header registers that every DVSEC has (PCIe 6.0 §7.9.6). */
const dvsecHeader: readonly RegisterLayout[] = [
  register("header1", 4, 4, [
    field("vendor", 15, 0, "RO", "who defined the layout"),
    field("revision", 19, 16, "RO", "revision of the layout"),
    field("length", 31, 20, "RO", "length in bytes with all headers"),
  ]),
  register("header2", 8, 2, [field("id", 15, 0, "RO", "which layout of that vendor")]),
];

function dvsecLength(config: RegisterReader, at: number): number {
  return config.read16(at + 6) >>> 4;
}

/** A DVSEC whose registers exist as far as its length covers them. */
function dvsec(registers: readonly RegisterLayout[], more: Partial<CapabilityLayout> = {}): CapabilityLayout {
  return {
    registers: [...dvsecHeader, ...registers.map(withinLength)],
    length: dvsecLength,
    ...more,
  };
}

function withinLength(one: RegisterLayout): RegisterLayout {
  const covered: RegisterCondition = (config, at) => dvsecLength(config, at) >= one.offset + one.size;
  const { when } = one;
  return { ...one, when: when === undefined ? covered : (config, at) => covered(config, at) && when(config, at) };
}

/** A DVSEC whose body the model does not know. */
export const DVSEC_LAYOUT: CapabilityLayout = dvsec([]);

const kept = { keptByFlr: true } as const;

/** One of the two ranges of HDM memory. */
function range(number: 1 | 2): RegisterLayout[] {
  const at = 0x18 + 0x10 * (number - 1);
  const name = `range${number}`;
  return [
    register(`${name}SizeHigh`, at, 4, [field("size", 31, 0, "RO", "size, bits 63:32")]),
    register(`${name}SizeLow`, at + 4, 4, [
      bit("memoryInfoValid", 0, "RO", "size and kind are valid"),
      bit("memoryActive", 1, "RO", "the memory is ready"),
      field("mediaType", 4, 2, "RO", "0 volatile, 1 non-volatile, 2 see CDAT"),
      field("memoryClass", 7, 5, "RO", "0 memory, 1 storage, 2 see CDAT"),
      field("desiredInterleave", 12, 8, "RO", "interleave granularity wanted, coded"),
      field("memoryActiveTimeout", 15, 13, "RO", "time to be ready, coded"),
      field("size", 31, 28, "RO", "size, bits 31:28"),
    ]),
    register(`${name}BaseHigh`, at + 8, 4, [field("base", 31, 0, "RWL", "host physical address, bits 63:32", kept)]),
    register(`${name}BaseLow`, at + 12, 4, [field("base", 31, 28, "RWL", "host physical address, bits 31:28", kept)]),
  ];
}

/** Whether revision and length have the bit of the last capability register. */
const hasCapability3: RegisterCondition = (config, at) => dvsecLength(config, at) >= 0x3a;

/**
 * PCIe DVSEC for CXL devices (CXL 3.1 §8.1.3). An FLR leaves CXL.cache and CXL.mem state alone; CONFIG_LOCK freezes the
 * RWL fields until a conventional reset.
 */
const CXL_DEVICE_LAYOUT: CapabilityLayout = dvsec(
  [
    register("capability", 0xa, 2, [
      bit("cacheCapable", 0, "RO", "uses CXL.cache (type 1 or 2)"),
      bit("ioCapable", 1, "RO", "uses CXL.io"),
      bit("memCapable", 2, "RO", "has CXL.mem (type 2 or 3)"),
      bit("memHwInit", 3, "RO", "the device sets its memory up itself"),
      field("hdmCount", 5, 4, "RO", "HDM ranges"),
      bit("cacheWritebackInvalidateCapable", 6, "RO", "can write its cache back and empty it on demand"),
      bit("cxlResetCapable", 7, "RO", "has CXL Reset"),
      field("cxlResetTimeout", 10, 8, "RO", "10 ms times 10^n"),
      bit("cxlResetMemClearCapable", 11, "RO", "CXL Reset can clear the memory"),
      bit("tspCapable", 12, "HwInit", "has the TEE security protocol"),
      bit("multipleLogicalDevice", 13, "HwInit", "is a multiple logical device"),
      bit("viralCapable", 14, "RO", "can become viral"),
      bit("pmInitCompletionReporting", 15, "HwInit", "tells that power management is initialised"),
    ]),
    register("control", 0xc, 2, [
      bit("cacheEnable", 0, "RWL", "CXL.cache on", { ...kept, needs: { offset: 0xa, bit: 0 } }),
      bit("ioEnable", 1, "RO", "CXL.io on: always"),
      bit("memEnable", 2, "RWL", "CXL.mem on", { ...kept, needs: { offset: 0xa, bit: 2 } }),
      field("snoopFilterCoverage", 7, 3, "RWL", "cached lines that the host should track, coded", kept),
      field("snoopFilterGranularity", 10, 8, "RWL", "granularity of that, coded", kept),
      bit("cleanEviction", 11, "RWL", "need not announce clean evictions", kept),
      bit("viralEnable", 14, "RWL", "viral on", { ...kept, needs: { offset: 0xb, bit: 6 } }),
    ]),
    // Its capability bit is in a register that shorter revisions lack.
    register(
      "control",
      0xc,
      2,
      [bit("p2pMemEnable", 12, "RWL", "direct peer-to-peer CXL.mem on", { ...kept, needs: { offset: 0x38, bit: 4 } })],
      hasCapability3,
    ),
    register("status", 0xe, 2, [bit("viralStatus", 14, "RW1CS", "the device is viral")]),
    register("control2", 0x10, 2, [
      bit("disableCaching", 0, "RW", "caches nothing new", kept),
      bit("initiateCacheWritebackInvalidate", 1, "W1", "writes the cache back and empties it", {
        needs: { offset: 0xa, bit: 6 },
      }),
      bit("initiateCxlReset", 2, "W1", "starts a CXL Reset", { needs: { offset: 0xa, bit: 7 } }),
      bit("cxlResetMemClearEnable", 3, "RW", "CXL Reset clears the memory", {
        ...kept,
        needs: { offset: 0xb, bit: 3 },
      }),
      bit("desiredVolatileHdmState", 4, "RW", "whether volatile memory is to survive a hot reset", kept),
      bit("modifiedCompletionEnable", 5, "RW", "may ask for modified lines", {
        ...kept,
        needs: { offset: 0x16, bit: 6 },
      }),
    ]),
    register("status2", 0x12, 2, [
      bit("cacheInvalid", 0, "RO", "the cache holds nothing"),
      bit("cxlResetComplete", 1, "RO", "the last CXL Reset succeeded"),
      bit("cxlResetError", 2, "RO", "the last CXL Reset failed"),
      bit("volatileHdmPreservationError", 3, "RW1C", "volatile memory did not survive", kept),
      bit("pmInitializationComplete", 15, "RO", "power management is initialised"),
    ]),
    register("lock", 0x14, 2, [bit("configLock", 0, "RWO", "RWL fields cannot be written", kept)]),
    register("capability2", 0x16, 2, [
      field("cacheSizeUnit", 3, 0, "RO", "1 64 KB, 2 1 MB"),
      field("fallbackCapability", 5, 4, "RO", "what it falls back to: 1 PCIe, 2 type 1, 3 type 3"),
      bit("modifiedCompletionCapable", 6, "RO", "can ask for modified lines"),
      bit("noCleanWriteback", 7, "RO", "never writes clean lines back"),
      field("cacheSize", 15, 8, "RO", "cache size in units"),
    ]),
    ...range(1),
    ...range(2),
    register("capability3", 0x38, 2, [
      field("volatileHdmState", 3, 0, "RO", "what volatile memory can do across resets"),
      bit("p2pMemCapable", 4, "RO", "can do direct peer-to-peer CXL.mem"),
    ]),
  ],
  { lock: { offset: 0x14, bit: 0 } },
);

/** Which functions of the device do not take part in CXL (CXL 3.1 §8.1.4). */
const CXL_FUNCTION_MAP_LAYOUT: CapabilityLayout = dvsec(
  Array.from({ length: 8 }, (_, index) =>
    whole(`nonCxlFunctions${index}`, 0xc + 4 * index, 4, "HwInit", "one bit per function that is not CXL"),
  ),
);

/** CXL extensions for ports (CXL 3.1 §8.1.5): whether a secondary bus reset reaches the device below. */
const CXL_PORT_LAYOUT: CapabilityLayout = dvsec([
  register("status", 0xa, 2, [
    bit("powerManagementInitComplete", 0, "RO", "power management is initialised"),
    bit("viralStatus", 14, "RW1CS", "the port is viral"),
  ]),
  register("control", 0xc, 2, [
    bit("unmaskSbr", 0, "RW", "a secondary bus reset reaches the CXL device below"),
    bit("unmaskLinkDisable", 1, "RW", "Link Disable reaches the CXL device below"),
    bit("alternateMemoryAndIdSpace", 2, "RW", "alternate windows on"),
    bit("alternateBme", 3, "RW", "requests through alternate windows may go up"),
    bit("viralEnable", 14, "RW", "viral on"),
  ]),
  whole("alternateBusBase", 0xe, 1, "RW", "first bus of the alternate window"),
  whole("alternateBusLimit", 0xf, 1, "RW", "last bus of the alternate window"),
  register("alternateMemoryBase", 0x10, 2, [field("base", 15, 4, "RW", "alternate memory window, bits 31:20")]),
  register("alternateMemoryLimit", 0x12, 2, [field("limit", 15, 4, "RW", "its last address, bits 31:20")]),
  register("alternatePrefetchableBase", 0x14, 2, [
    field("addressing", 3, 0, "RO", "1 = 64 bits"),
    field("base", 15, 4, "RW", "alternate prefetchable window, bits 31:20"),
  ]),
  register("alternatePrefetchableLimit", 0x16, 2, [
    field("addressing", 3, 0, "RO", "1 = 64 bits"),
    field("limit", 15, 4, "RW", "its last address, bits 31:20"),
  ]),
  whole("alternatePrefetchableBaseHigh", 0x18, 4, "RW", "alternate prefetchable window, bits 63:32"),
  whole("alternatePrefetchableLimitHigh", 0x1c, 4, "RW", "its last address, bits 63:32"),
  register("rcrbBaseLow", 0x20, 4, [
    bit("enable", 0, "RW", "the register block answers"),
    field("base", 31, 13, "RW", "its address, bits 31:13"),
  ]),
  whole("rcrbBaseHigh", 0x24, 4, "RW", "its address, bits 63:32"),
]);

/** Time-out of one phase of Global Persistent Flush. */
function phase(name: string, offset: number): RegisterLayout {
  return register(name, offset, 2, [
    field("timeoutBase", 3, 0, "RW", "time-out, mantissa"),
    field("timeoutScale", 11, 8, "RW", "time-out: 1 us times 10^n"),
  ]);
}

/** Global Persistent Flush of a port (CXL 3.1 §8.1.6). */
const CXL_PORT_GPF_LAYOUT: CapabilityLayout = dvsec([phase("phase1Control", 0xc), phase("phase2Control", 0xe)]);

/** Global Persistent Flush of a device (CXL 3.1 §8.1.7). */
const CXL_DEVICE_GPF_LAYOUT: CapabilityLayout = dvsec([
  register("phase2Duration", 0xa, 2, [
    field("timeBase", 3, 0, "RO", "longest time of phase 2, mantissa"),
    field("timeScale", 11, 8, "RO", "longest time: 1 us times 10^n"),
  ]),
  whole("phase2Power", 0xc, 4, "RO", "power in phase 2, in mW"),
]);

/** The same bits in capability, control and status of a Flex Bus port. */
function protocols(access: FieldAccess, suffix: string): readonly FieldLayout[] {
  return [
    bit(`cache${suffix}`, 0, access, "CXL.cache"),
    bit(`io${suffix}`, 1, access, "CXL.io"),
    bit(`mem${suffix}`, 2, access, "CXL.mem"),
    bit(`flit68AndVh${suffix}`, 5, access, "68-byte flits and virtual hierarchies"),
    bit(`multipleLogicalDevice${suffix}`, 6, access, "multiple logical devices"),
    bit(`latencyOptimizedFlit256${suffix}`, 13, access, "latency-optimised 256-byte flits"),
    bit(`pbrFlit${suffix}`, 14, access, "port-based routing flits"),
  ];
}

/** Flex Bus port (CXL 3.1 §8.2.1.3): which protocols the link trained. */
const CXL_FLEX_BUS_LAYOUT: CapabilityLayout = dvsec([
  register("capability", 0xa, 2, protocols("RO", "Capable")),
  register("control", 0xc, 2, protocols("RO", "Enable")),
  register("status", 0xe, 2, protocols("RO", "Enabled")),
  whole("receivedModifiedTs", 0x10, 4, "RO", "modified training sequence data received, phase 1"),
  whole("capability2", 0x14, 4, "RO", "NOP hint"),
  whole("control2", 0x18, 4, "RO", "NOP hint"),
  whole("status2", 0x1c, 4, "RO", "NOP hint information"),
]);

/** Where the component and device registers are (CXL 3.1 §8.1.9): entries of 8 bytes. */
const CXL_REGISTER_LOCATOR_LAYOUT: CapabilityLayout = dvsec([], {
  *repeated(config, at) {
    const count = Math.floor((dvsecLength(config, at) - 0xc) / 8);
    for (let index = 0; index < count; index += 1) {
      const from = 0xc + 8 * index;
      yield register(`block${index}.low`, from, 4, [
        field("bir", 2, 0, "HwInit", "base address register"),
        field("id", 15, 8, "HwInit", "1 component, 2 virtualisation ACL, 3 device, 4 performance monitoring"),
        field("offset", 31, 16, "HwInit", "offset in it, bits 31:16"),
      ]);
      yield register(`block${index}.high`, from + 4, 4, [field("offset", 31, 0, "HwInit", "offset in it, bits 63:32")]);
    }
  },
});

const cxlLayouts: ReadonlyMap<number, CapabilityLayout> = new Map([
  [CXL_DVSEC_DEVICE, CXL_DEVICE_LAYOUT],
  [CXL_DVSEC_FUNCTION_MAP, CXL_FUNCTION_MAP_LAYOUT],
  [CXL_DVSEC_PORT, CXL_PORT_LAYOUT],
  [CXL_DVSEC_PORT_GPF, CXL_PORT_GPF_LAYOUT],
  [CXL_DVSEC_DEVICE_GPF, CXL_DEVICE_GPF_LAYOUT],
  [CXL_DVSEC_FLEX_BUS, CXL_FLEX_BUS_LAYOUT],
  [CXL_DVSEC_REGISTER_LOCATOR, CXL_REGISTER_LOCATOR_LAYOUT],
]);

/** The layout of a DVSEC by its vendor and id. A DVSEC of another vendor is not CXL, whatever its shape. */
export function dvsecLayout(vendor: number, id: number): CapabilityLayout {
  return (vendor === DVSEC_VENDOR_CXL ? cxlLayouts.get(id) : undefined) ?? DVSEC_LAYOUT;
}
