import {
  type CapabilityLayout,
  type RegisterLayout,
  type RegisterReader,
  bit,
  field,
  register,
  whole,
} from "./register-layout.ts";
import { CAP_ID_EXP } from "./standard-layouts.ts";

/** Latency Tolerance Reporting (PCIe 6.0 §7.8.2). */
export const LTR_LAYOUT: CapabilityLayout = {
  registers: ["maxSnoopLatency", "maxNoSnoopLatency"].map((name, index) =>
    register(name, 4 + 2 * index, 2, [
      field("value", 9, 0, "RW", "latency, mantissa"),
      field("scale", 12, 10, "RW", "latency: 32^n ns"),
    ]),
  ),
};

const l1Bits = [
  ["pciPmL12", 0, "L1.2 by PCI power management"],
  ["pciPmL11", 1, "L1.1 by PCI power management"],
  ["aspmL12", 2, "L1.2 by ASPM"],
  ["aspmL11", 3, "L1.1 by ASPM"],
] as const;

/** L1 PM Substates (PCIe 6.0 §7.8.3). */
export const L1_SUBSTATES_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      ...l1Bits.map(([name, at, meaning]) => bit(name, at, "RO", `can do ${meaning}`)),
      bit("l1PmSubstates", 4, "RO", "has L1 substates"),
      bit("linkActivation", 5, "RO", "can notify that the link is active"),
      field("commonModeRestoreTime", 15, 8, "HwInit", "time to restore the common mode, in us"),
      field("tPowerOnScale", 17, 16, "HwInit", "unit of the power-on time"),
      field("tPowerOnValue", 23, 19, "HwInit", "power-on time"),
    ]),
    register("control1", 8, 4, [
      ...l1Bits.map(([name, at, meaning]) => bit(name, at, "RW", `${meaning} on`)),
      bit("linkActivationInterrupt", 4, "RW", "interrupt when the link is active", { needs: { offset: 4, bit: 5 } }),
      bit("linkActivationControl", 5, "RW", "keeps the link out of L1", { needs: { offset: 4, bit: 5 } }),
      field("commonModeRestoreTime", 15, 8, "RW", "time to restore the common mode, in us"),
      field("ltrL12ThresholdValue", 25, 16, "RW", "latency below which L1.2 is not entered"),
      field("ltrL12ThresholdScale", 31, 29, "RW", "its unit: 32^n ns"),
    ]),
    register("control2", 0xc, 4, [
      field("tPowerOnScale", 1, 0, "RW", "unit of the power-on time"),
      field("tPowerOnValue", 7, 3, "RW", "power-on time"),
    ]),
  ],
};

/** Precision Time Measurement (PCIe 6.0 §7.9.15). */
export const PTM_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("requester", 0, "HwInit", "can ask for the time"),
      bit("responder", 1, "HwInit", "can answer"),
      bit("root", 2, "HwInit", "can be the source of time"),
      bit("ePtm", 3, "HwInit", "has enhanced PTM"),
      bit("adaptationCapable", 4, "HwInit", "can adapt to propagation delay"),
      field("localClockGranularity", 15, 8, "HwInit", "period of the clock in ns; 0 none"),
    ]),
    register("control", 8, 4, [
      bit("enable", 0, "RW", "PTM on"),
      bit("rootSelect", 1, "RW", "this is the source of time", { needs: { offset: 4, bit: 2 } }),
      field("effectiveGranularity", 15, 8, "RW", "granularity of the time received"),
    ]),
  ],
};

/** Data Link Feature (PCIe 6.0 §7.7.4). */
export const DATA_LINK_FEATURE_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("localScaledFlowControl", 0, "HwInit", "can scale flow control credits"),
      field("localFeatures", 22, 1, "RO", "further features of this end"),
      bit("exchangeEnable", 31, "HwInit", "features are exchanged"),
    ]),
    register("status", 8, 4, [
      bit("remoteScaledFlowControl", 0, "RO", "the other end can scale credits"),
      field("remoteFeatures", 22, 1, "RO", "further features of the other end"),
      bit("remoteValid", 31, "RO", "the other end told its features"),
    ]),
  ],
};

/** Lanes of the function's link, from its PCI Express capability; 1 where it cannot be told. */
function laneCount(config: RegisterReader): number {
  let at = config.read8(0x34) & 0xfc;
  for (let steps = 0; at >= 0x40 && steps < 48; steps += 1) {
    if (config.read8(at) === CAP_ID_EXP) {
      return Math.min(Math.max((config.read16(at + 0xc) >>> 4) & 0x3f, 1), 32);
    }
    at = config.read8(at + 1) & 0xfc;
  }
  return 1;
}

/** Secondary PCI Express: equalization at 8 GT/s (PCIe 6.0 §7.7.3). */
export const SECONDARY_PCIE_LAYOUT: CapabilityLayout = {
  registers: [
    register("linkControl3", 4, 4, [
      bit("performEqualization", 0, "RW", "equalizes when the link is trained anew"),
      bit("equalizationInterrupt", 1, "RW", "interrupt when equalization is asked for"),
      field("lowerSkpGeneration", 15, 9, "RW", "speeds at which SKPs are sent more rarely"),
    ]),
    whole("laneErrorStatus", 8, 4, "RW1CS", "lanes that had an error"),
  ],
  *repeated(config) {
    const lanes = laneCount(config);
    for (let lane = 0; lane < lanes; lane += 1) {
      yield register(`laneEqualization${lane}`, 0xc + 2 * lane, 2, [
        field("downstreamTxPreset", 3, 0, "HwInit", "preset of the upper end"),
        field("downstreamRxHint", 6, 4, "HwInit", "receiver hint of the upper end"),
        field("upstreamTxPreset", 11, 8, "HwInit", "preset of the lower end"),
        field("upstreamRxHint", 14, 12, "HwInit", "receiver hint of the lower end"),
      ]);
    }
  },
};

const equalizationStatus = [
  bit("complete", 0, "ROS", "equalization is done"),
  bit("phase1", 1, "ROS", "phase 1 succeeded"),
  bit("phase2", 2, "ROS", "phase 2 succeeded"),
  bit("phase3", 3, "ROS", "phase 3 succeeded"),
  bit("request", 4, "RW1CS", "the other end asks for equalization"),
] as const;

function* presets(config: RegisterReader, first: number): Generator<RegisterLayout> {
  const lanes = laneCount(config);
  for (let lane = 0; lane < lanes; lane += 1) {
    yield register(`laneEqualization${lane}`, first + lane, 1, [
      field("downstreamTxPreset", 3, 0, "HwInit", "preset of the upper end"),
      field("upstreamTxPreset", 7, 4, "HwInit", "preset of the lower end"),
    ]);
  }
}

/** Physical Layer 16.0 GT/s (PCIe 6.0 §7.7.5). */
export const PHYSICAL_LAYER_16_LAYOUT: CapabilityLayout = {
  registers: [
    whole("capabilities", 4, 4, "RO", "reserved"),
    whole("control", 8, 4, "RO", "reserved"),
    register("status", 0xc, 4, equalizationStatus),
    whole("localParityMismatch", 0x10, 4, "RW1CS", "lanes with a parity mismatch here"),
    whole("firstRetimerParityMismatch", 0x14, 4, "RW1CS", "lanes with one at the first retimer"),
    whole("secondRetimerParityMismatch", 0x18, 4, "RW1CS", "lanes with one at the second retimer"),
  ],
  repeated: (config) => presets(config, 0x20),
};

/** Physical Layer 32.0 GT/s (PCIe 6.0 §7.7.6). */
export const PHYSICAL_LAYER_32_LAYOUT: CapabilityLayout = {
  registers: [
    register("capabilities", 4, 4, [
      bit("equalizationBypass", 0, "HwInit", "can skip to the highest speed"),
      bit("noEqualizationNeeded", 1, "HwInit", "can do without equalization"),
      field(
        "modifiedTsUsageModes",
        15,
        8,
        "HwInit",
        "uses of modified training sequences: 0 PCIe, 1 training sets, 2 alternate protocol",
      ),
    ]),
    register("control", 8, 4, [
      bit("equalizationBypassDisable", 0, "RWS", "does not skip"),
      bit("noEqualizationDisable", 1, "RWS", "equalizes"),
      field("modifiedTsUsageMode", 10, 8, "RWS", "use of modified training sequences"),
    ]),
    register("status", 0xc, 4, [
      ...equalizationStatus,
      bit("modifiedTsReceived", 5, "ROS", "modified training sequences came"),
      field("enhancedLinkBehavior", 7, 6, "ROS", "what both ends agreed about equalization"),
      bit("transmitterPrecoding", 8, "ROS", "precoding is on"),
      bit("transmitterPrecodingRequest", 9, "RO", "asks for precoding"),
      bit("noEqualizationReceived", 10, "ROS", "the other end needs no equalization"),
    ]),
    whole("receivedModifiedTs1", 0x10, 4, "ROS", "modified training sequence received: usage, vendor"),
    whole("receivedModifiedTs2", 0x14, 4, "ROS", "modified training sequence received: information 2"),
    whole("transmittedModifiedTs1", 0x18, 4, "RO", "modified training sequence sent: usage, vendor"),
    whole("transmittedModifiedTs2", 0x1c, 4, "RO", "modified training sequence sent: information 2"),
  ],
  repeated: (config) => presets(config, 0x20),
};

/** Physical Layer 64.0 GT/s (PCIe 6.0 §7.7.7). */
export const PHYSICAL_LAYER_64_LAYOUT: CapabilityLayout = {
  registers: [
    whole("capabilities", 4, 4, "RO", "reserved"),
    whole("control", 8, 4, "RO", "reserved"),
    register("status", 0xc, 4, equalizationStatus),
  ],
  repeated: (config) => presets(config, 0x10),
};

/** Lane Margining at the Receiver (PCIe 6.0 §7.7.8). */
export const LANE_MARGINING_LAYOUT: CapabilityLayout = {
  registers: [
    register("portCapabilities", 4, 2, [bit("driverSoftware", 0, "HwInit", "margining needs driver software")]),
    register("portStatus", 6, 2, [
      bit("ready", 0, "RO", "ready for margining"),
      bit("softwareReady", 1, "RO", "driver software is ready"),
    ]),
  ],
  *repeated(config) {
    const lanes = laneCount(config);
    const fields = [
      field("receiver", 2, 0, "RW", "receiver number"),
      field("type", 5, 3, "RW", "kind of command", { reset: 7 }),
      field("usageModel", 6, 6, "RW", "0 margining at the receiver"),
      field("payload", 15, 8, "RW", "payload of the command", { reset: 0x9c }),
    ];
    const status = fields.map(({ name, high, low, meaning }) => field(name, high, low, "RO", meaning));
    for (let lane = 0; lane < lanes; lane += 1) {
      yield register(`laneControl${lane}`, 8 + 4 * lane, 2, fields);
      yield register(`laneStatus${lane}`, 10 + 4 * lane, 2, status);
    }
  },
};
