import {
  type CapabilityLayout,
  type RegisterLayout,
  type RegisterReader,
  bit,
  field,
  register,
  whole,
} from "./register-layout.ts";

/** Device Serial Number (PCIe 6.0 §7.9.3). */
export const SERIAL_NUMBER_LAYOUT: CapabilityLayout = {
  registers: [
    whole("serialNumberLow", 4, 4, "RO", "EUI-64, lower half"),
    whole("serialNumberHigh", 8, 4, "RO", "EUI-64, upper half"),
  ],
};

/** Power Budgeting (PCIe 6.0 §7.8.1). */
export const POWER_BUDGETING_LAYOUT: CapabilityLayout = {
  registers: [
    register("dataSelect", 4, 1, [field("dataSelect", 7, 0, "RW", "which entry the data register shows")]),
    register("data", 8, 4, [
      field("basePower", 7, 0, "RO", "power, mantissa"),
      field("dataScale", 9, 8, "RO", "power: 10^-n W"),
      field("pmSubState", 12, 10, "RO", "substate that the entry is about"),
      field("pmState", 14, 13, "RO", "state that the entry is about"),
      field("type", 17, 15, "RO", "kind of operation"),
      field("powerRail", 20, 18, "RO", "rail that the entry is about"),
    ]),
    register("capability", 0xc, 1, [bit("systemAllocated", 0, "HwInit", "part of the system's budget")]),
  ],
};

/** Vendor-Specific Extended Capability (PCIe 6.0 §7.9.5). */
export const VSEC_LAYOUT: CapabilityLayout = {
  registers: [
    register("header", 4, 4, [
      field("id", 15, 0, "RO", "id given by the vendor of the function"),
      field("revision", 19, 16, "RO", "revision of that layout"),
      field("length", 31, 20, "RO", "length in bytes with both headers"),
    ]),
  ],
  length: (config, at) => config.read16(at + 6) >>> 4,
};

/** Pairs of capability and control, one per base address register; the first control says how many. */
function* resizableBars(config: RegisterReader, at: number): Generator<RegisterLayout> {
  for (let index = 0; index < Math.max(config.read8(at + 8) >>> 5, 1); index += 1) {
    const name = index === 0 ? "" : `${index}`;
    yield register(`capability${name}`, 4 + 8 * index, 4, [
      field("supportedSizes", 31, 4, "RO", "bit n: 2^(20+n) bytes, 1 MB to 128 TB"),
    ]);
    yield register(`control${name}`, 8 + 8 * index, 4, [
      field("barIndex", 2, 0, "RO", "which base address register"),
      field("numBars", 7, 5, "RO", "how many can be resized; only in the first"),
      field("barSize", 13, 8, "RW", "2^(20+n) bytes"),
      field("supportedSizesHigh", 31, 16, "RO", "256 TB and more"),
    ]);
  }
}

/** Physical or VF Resizable BAR (PCIe 6.0 §7.8.6, §7.8.7). */
export const RESIZABLE_BAR_LAYOUT: CapabilityLayout = { registers: [], repeated: resizableBars };

/** TLP Processing Hints requester (PCIe 6.0 §7.9.13); the steering tags follow where the table is in the capability. */
export const TPH_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("noStMode", 0, "RO", "can send hints without steering tags"),
      bit("interruptVectorMode", 1, "RO", "steering tags by interrupt vector"),
      bit("deviceSpecificMode", 2, "RO", "steering tags as the device likes"),
      bit("extendedTph", 8, "RO", "can send 16-bit steering tags"),
      field("stTableLocation", 10, 9, "RO", "0 none, 1 in this capability, 2 in the MSI-X table"),
      field("stTableSize", 26, 16, "RO", "steering tags, less 1"),
    ]),
    register("control", 8, 4, [
      field("stModeSelect", 2, 0, "RW", "0 none, 1 by interrupt vector, 2 device specific"),
      field("requesterEnable", 9, 8, "RW", "0 off, 1 hints, 3 hints and extended hints"),
    ]),
  ],
  *repeated(config, at) {
    const capability = config.read32(at + 4);
    const count = ((capability >>> 9) & 3) === 1 ? ((capability >>> 16) & 0x7ff) + 1 : 0;
    for (let index = 0; index < count; index += 1) {
      yield register(`steeringTag${index}`, 0xc + 2 * index, 2, [
        field("low", 7, 0, "RW", "steering tag"),
        field("high", 15, 8, "RW", "upper half of an extended tag"),
      ]);
    }
  },
};

/** Virtual Channel and Multi-Function Virtual Channel (PCIe 6.0 §7.9.1, §7.9.2). */
export const VIRTUAL_CHANNEL_LAYOUT: CapabilityLayout = {
  registers: [
    register("portCapability1", 4, 4, [
      field("extendedVcCount", 2, 0, "RO", "channels besides the first"),
      field("lowPriorityExtendedVcCount", 6, 4, "RO", "of them, those of low priority"),
      field("referenceClock", 9, 8, "RO", "0 = 100 ns"),
      field("portArbitrationEntrySize", 11, 10, "RO", "2^n bits per entry"),
    ]),
    register("portCapability2", 8, 4, [
      field("vcArbitration", 7, 0, "RO", "kinds of arbitration between channels"),
      field("vcArbitrationTable", 31, 24, "RO", "offset of the table in 16 bytes; 0 none"),
    ]),
    register("portControl", 0xc, 2, [
      bit("loadVcArbitrationTable", 0, "W1", "takes the table over"),
      field("vcArbitrationSelect", 3, 1, "RW", "kind of arbitration"),
    ]),
    register("portStatus", 0xe, 2, [bit("vcArbitrationTableStatus", 0, "RO", "the table is not taken over yet")]),
  ],
  *repeated(config, at) {
    const count = (config.read8(at + 4) & 7) + 1;
    for (let vc = 0; vc < count; vc += 1) {
      yield register(`vc${vc}.capability`, 0x10 + 12 * vc, 4, [
        field("portArbitration", 7, 0, "RO", "kinds of arbitration between ports"),
        bit("undefined", 14, "RO", "once advanced packet switching"),
        bit("rejectSnoop", 15, "HwInit", "refuses requests without No Snoop"),
        field("maxTimeSlots", 22, 16, "HwInit", "time slots, less 1"),
        field("portArbitrationTable", 31, 24, "RO", "offset of the table in 16 bytes; 0 none"),
      ]);
      yield register(`vc${vc}.control`, 0x14 + 12 * vc, 4, [
        field("tcMap", 7, 0, "RW", "traffic classes of the channel", { reset: vc === 0 ? 0xff : 0, keptByFlr: true }),
        bit("loadPortArbitrationTable", 16, "W1", "takes the table over"),
        field("portArbitrationSelect", 19, 17, "RW", "kind of arbitration"),
        field("vcId", 26, 24, vc === 0 ? "RO" : "RW", "number of the channel", { keptByFlr: true }),
        // The first channel cannot be switched off.
        bit("enable", 31, vc === 0 ? "HwInit" : "RW", "the channel is in use", { keptByFlr: true }),
      ]);
      yield register(`vc${vc}.status`, 0x1a + 12 * vc, 2, [
        bit("portArbitrationTableStatus", 0, "RO", "the table is not taken over yet"),
        bit("negotiationPending", 1, "RO", "the channel is being set up"),
      ]);
    }
  },
};

/** Root Complex Link Declaration (PCIe 6.0 §7.9.8). */
export const ROOT_COMPLEX_LINK_LAYOUT: CapabilityLayout = {
  registers: [
    register("elementSelf", 4, 4, [
      field("type", 3, 0, "RO", "0 config space, 1 system memory, 2 internal"),
      field("numLinks", 15, 8, "HwInit", "link entries that follow"),
      field("componentId", 23, 16, "HwInit", "component of this element"),
      field("portNumber", 31, 24, "RO", "port of this element"),
    ]),
  ],
  *repeated(config, at) {
    const count = config.read8(at + 5);
    for (let link = 0; link < count; link += 1) {
      const from = 0x10 + 0x10 * link;
      yield register(`link${link}.description`, from, 4, [
        bit("valid", 0, "HwInit", "the entry is valid"),
        bit("type", 1, "HwInit", "0 a memory address, 1 a config space"),
        bit("rcrb", 2, "HwInit", "leads to a register block"),
        field("targetComponentId", 23, 16, "HwInit", "component of the target"),
        field("targetPortNumber", 31, 24, "HwInit", "port of the target"),
      ]);
      yield whole(`link${link}.addressLow`, from + 8, 4, "HwInit", "address or bus, device, function");
      yield whole(`link${link}.addressHigh`, from + 12, 4, "HwInit", "address, upper half");
    }
  },
};

/** Root Complex Internal Link Control (PCIe 6.0 §7.9.9). */
export const ROOT_COMPLEX_INTERNAL_LINK_LAYOUT: CapabilityLayout = {
  registers: [
    whole("linkCapabilities", 4, 4, "RO", "speeds and widths, as in Link Capabilities"),
    register("linkControl", 8, 2, [
      field("aspm", 1, 0, "RW", "link states entered: L0s, L1"),
      bit("extendedSynch", 7, "RW", "longer training sequences"),
    ]),
    register("linkStatus", 0xa, 2, [
      field("linkSpeed", 3, 0, "RO", "speed in use"),
      field("linkWidth", 9, 4, "RO", "lanes in use"),
    ]),
  ],
};

/** Root Complex Register Block Header (PCIe 6.0 §7.9.7). */
export const RCRB_HEADER_LAYOUT: CapabilityLayout = {
  registers: [
    register("ids", 4, 4, [
      field("vendorId", 15, 0, "RO", "vendor of the block"),
      field("deviceId", 31, 16, "RO", "device of the block"),
    ]),
    register("capabilities", 8, 4, [bit("rrsSoftwareVisibility", 0, "RO", "can show Request Retry Status")]),
    register("control", 0xc, 4, [
      bit("rrsSoftwareVisibility", 0, "RW", "software sees Request Retry Status", { needs: { offset: 8, bit: 0 } }),
    ]),
  ],
};

/** Multicast (PCIe 6.0 §7.9.11). */
export const MULTICAST_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      field("maxGroup", 5, 0, "RO", "groups, less 1"),
      field("windowSize", 13, 8, "RO", "window asked for: 2^n bytes (endpoints)"),
      bit("ecrcRegeneration", 15, "RO", "can make the CRC anew"),
    ]),
    register("control", 6, 2, [
      field("numGroup", 5, 0, "RW", "groups in use, less 1"),
      bit("enable", 15, "RW", "multicast on"),
    ]),
    register("baseLow", 8, 4, [
      field("indexPosition", 5, 0, "RW", "lowest bit of the group number in the address"),
      field("base", 31, 12, "RW", "first address, bits 31:12"),
    ]),
    whole("baseHigh", 0xc, 4, "RW", "first address, bits 63:32"),
    ...["receive", "blockAll", "blockUntranslated"].flatMap((name, index) => {
      const meaning = ["groups taken", "groups blocked", "groups blocked for untranslated requests"][index] ?? "";
      return [
        whole(`${name}Low`, 0x10 + 8 * index, 4, "RW", `${meaning}, 0 to 31`),
        whole(`${name}High`, 0x14 + 8 * index, 4, "RW", `${meaning}, 32 to 63`),
      ];
    }),
  ],
};

/** Dynamic Power Allocation (PCIe 6.0 §7.9.12). */
export const DYNAMIC_POWER_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      field("substateMax", 4, 0, "RO", "substates, less 1"),
      field("latencyUnit", 9, 8, "RO", "unit of the latencies"),
      field("powerScale", 13, 12, "RO", "unit of the powers"),
      field("latency0", 23, 16, "RO", "transition latency 0"),
      field("latency1", 31, 24, "RO", "transition latency 1"),
    ]),
    whole("latencyIndicator", 8, 4, "RO", "which latency each substate has"),
    register("status", 0xc, 2, [
      field("substate", 4, 0, "RO", "substate in use"),
      bit("substateControlEnabled", 8, "RW1C", "control is on"),
    ]),
    register("control", 0xe, 2, [field("substate", 4, 0, "RW", "substate wanted")]),
  ],
  *repeated(config, at) {
    const count = (config.read8(at + 4) & 0x1f) + 1;
    for (let index = 0; index < count; index += 1) {
      yield whole(`power${index}`, 0x10 + index, 1, "RO", "power of the substate");
    }
  },
};

const indicators = [
  ["ok", 2, "OK"],
  ["locate", 3, "locate"],
  ["fail", 4, "fail"],
  ["rebuild", 5, "rebuild"],
  ["predictedFailure", 6, "predicted failure"],
  ["hotSpare", 7, "hot spare"],
  ["inCriticalArray", 8, "in a critical array"],
  ["inFailedArray", 9, "in a failed array"],
  ["invalidDeviceType", 10, "invalid device type"],
  ["disabled", 11, "disabled"],
] as const;

/** Native PCIe Enclosure Management (PCIe 6.0 §7.9.19). */
export const NPEM_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("capable", 0, "HwInit", "has NPEM"),
      bit("reset", 1, "HwInit", "can be reset"),
      ...indicators.map(([name, at, meaning]) => bit(name, at, "HwInit", `has the indicator ${meaning}`)),
      field("enclosureSpecific", 31, 24, "HwInit", "indicators of the enclosure"),
    ]),
    register("control", 8, 4, [
      bit("enable", 0, "RW", "NPEM on"),
      bit("reset", 1, "W1", "resets NPEM", { needs: { offset: 4, bit: 1 } }),
      ...indicators.map(([name, at, meaning]) => bit(name, at, "RW", `shows ${meaning}`)),
      field("enclosureSpecific", 31, 24, "RW", "indicators of the enclosure"),
    ]),
    register("status", 0xc, 4, [
      bit("commandCompleted", 0, "RW1C", "the last command completed"),
      field("enclosureSpecific", 31, 24, "RO", "status of the enclosure"),
    ]),
  ],
};

/** Readiness Time Reporting (PCIe 6.0 §7.9.16). */
export const READINESS_TIME_LAYOUT: CapabilityLayout = {
  registers: [
    register("times1", 4, 4, [
      field("resetTime", 11, 0, "HwInit", "after a conventional reset, coded"),
      field("dlUpTime", 23, 12, "HwInit", "after the link is up, coded"),
      bit("valid", 31, "HwInit", "the times are valid"),
    ]),
    register("times2", 8, 4, [
      field("flrTime", 11, 0, "HwInit", "after an FLR, coded"),
      field("d3hotToD0Time", 23, 12, "HwInit", "after D3hot, coded"),
    ]),
  ],
};

/** FRS Queueing (PCIe 6.0 §7.8.11). */
export const FRS_QUEUEING_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      field("maxDepth", 11, 0, "HwInit", "messages that fit"),
      field("interruptMessageNumber", 20, 16, "RO", "which MSI or MSI-X vector"),
    ]),
    register("status", 8, 2, [
      bit("messageReceived", 0, "RW1C", "a message came"),
      bit("overflow", 1, "RW1C", "a message was lost"),
    ]),
    register("control", 0xa, 2, [bit("interruptEnable", 0, "RW", "interrupt on a message")]),
    register("queue", 0xc, 4, [
      field("functionId", 15, 0, "RO", "who sent the oldest message"),
      field("depth", 27, 16, "RO", "messages that wait"),
      field("reason", 31, 28, "RO", "why it was sent"),
    ]),
  ],
};
