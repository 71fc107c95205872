import { type CapabilityLayout, bit, field, register } from "./register-layout.ts";

/** Vendor-specific capability of the standard list: the third byte is its length. */
export const VENDOR_SPECIFIC_LAYOUT: CapabilityLayout = {
  registers: [register("length", 2, 1, [field("length", 7, 0, "RO")])],
};

/** Subsystem ids of a bridge (PCI-to-PCI Bridge 1.2 §3.2.5.13). */
export const SUBSYSTEM_LAYOUT: CapabilityLayout = {
  registers: [
    register("subsystemVendorId", 4, 2, [field("subsystemVendorId", 15, 0, "RO")]),
    register("subsystemId", 6, 2, [field("subsystemId", 15, 0, "RO")]),
  ],
};

/** Enhanced Allocation: how many entries follow (PCIe 6.0 §7.8.5). */
export const ENHANCED_ALLOCATION_LAYOUT: CapabilityLayout = {
  registers: [register("numEntries", 2, 1, [field("numEntries", 5, 0, "RO")])],
};

/** Device Serial Number (PCIe 6.0 §7.9.3). */
export const SERIAL_NUMBER_LAYOUT: CapabilityLayout = {
  registers: [
    register("serialNumberLow", 4, 4, [field("serialNumberLow", 31, 0, "RO")]),
    register("serialNumberHigh", 8, 4, [field("serialNumberHigh", 31, 0, "RO")]),
  ],
};

/** Vendor-Specific Extended Capability (PCIe 6.0 §7.9.5). */
export const VSEC_LAYOUT: CapabilityLayout = {
  registers: [
    register("header", 4, 4, [
      field("id", 15, 0, "RO"),
      field("revision", 19, 16, "RO"),
      field("length", 31, 20, "RO"),
    ]),
  ],
};

/** Physical or VF Resizable BAR, first entry (PCIe 6.0 §7.8.6). */
export const RESIZABLE_BAR_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [field("supportedSizes", 31, 4, "RO")]),
    register("control", 8, 4, [
      field("barIndex", 2, 0, "RO"),
      field("numBars", 7, 5, "RO"),
      field("barSize", 13, 8, "RO"),
    ]),
  ],
};

/** TLP Processing Hints requester (PCIe 6.0 §7.9.13). */
export const TPH_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("noStMode", 0, "RO"),
      bit("interruptVectorMode", 1, "RO"),
      bit("deviceSpecificMode", 2, "RO"),
      bit("extendedTph", 8, "RO"),
      field("stTableLocation", 10, 9, "RO"),
      field("stTableSize", 26, 16, "RO"),
    ]),
    register("control", 8, 4, [field("stModeSelect", 2, 0, "RW"), field("requesterEnable", 9, 8, "RW")]),
  ],
};

/** Latency Tolerance Reporting (PCIe 6.0 §7.8.2). */
export const LTR_LAYOUT: CapabilityLayout = {
  registers: [
    register("maxSnoopLatency", 4, 2, [field("value", 9, 0, "RW"), field("scale", 12, 10, "RW")]),
    register("maxNoSnoopLatency", 6, 2, [field("value", 9, 0, "RW"), field("scale", 12, 10, "RW")]),
  ],
};

/** Downstream Port Containment, without the root port's PIO registers (PCIe 6.0 §7.9.14). */
export const DPC_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      field("interruptMessageNumber", 4, 0, "RO"),
      bit("rpExtensions", 5, "RO"),
      bit("poisonedTlpEgressBlocking", 6, "RO"),
      bit("softwareTrigger", 7, "RO"),
      field("rpPioLogSize", 11, 8, "RO"),
      bit("dlActiveErrCor", 12, "RO"),
    ]),
    register("control", 6, 2, [
      field("triggerEnable", 1, 0, "RW"),
      bit("completionControl", 2, "RW"),
      bit("interruptEnable", 3, "RW"),
      bit("errCorEnable", 4, "RW"),
      bit("poisonedTlpEgressBlockingEnable", 5, "RW", { needs: { offset: 4, bit: 6 } }),
      bit("softwareTrigger", 6, "W1", { needs: { offset: 4, bit: 7 } }),
      bit("dlActiveErrCorEnable", 7, "RW", { needs: { offset: 5, bit: 4 } }),
    ]),
    register("status", 8, 2, [
      bit("triggered", 0, "RW1C", { survives: "conventional" }),
      field("triggerReason", 2, 1, "RO"),
      bit("interrupt", 3, "RW1C"),
      bit("rpBusy", 4, "RO"),
      field("triggerReasonExtension", 6, 5, "RO"),
      field("rpPioFirstErrorPointer", 12, 8, "RO"),
    ]),
    register("errorSourceId", 0xa, 2, [field("errorSourceId", 15, 0, "RO")]),
  ],
};

/** L1 PM Substates (PCIe 6.0 §7.8.3). */
export const L1_SUBSTATES_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("pciPmL12", 0, "RO"),
      bit("pciPmL11", 1, "RO"),
      bit("aspmL12", 2, "RO"),
      bit("aspmL11", 3, "RO"),
      bit("l1PmSubstates", 4, "RO"),
    ]),
    register("control1", 8, 4, [
      field("enables", 3, 0, "RW"),
      field("commonModeRestoreTime", 15, 8, "RW"),
      field("ltrL12ThresholdValue", 25, 16, "RW"),
      field("ltrL12ThresholdScale", 31, 29, "RW"),
    ]),
    register("control2", 0xc, 4, [field("tPowerOnScale", 1, 0, "RW"), field("tPowerOnValue", 7, 3, "RW")]),
  ],
};

/** Precision Time Measurement (PCIe 6.0 §7.9.15). */
export const PTM_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("requester", 0, "RO"),
      bit("responder", 1, "RO"),
      bit("root", 2, "RO"),
      field("localClockGranularity", 15, 8, "RO"),
    ]),
    register("control", 8, 4, [
      bit("enable", 0, "RW"),
      bit("rootSelect", 1, "RW", { needs: { offset: 4, bit: 2 } }),
      field("effectiveGranularity", 15, 8, "RW"),
    ]),
  ],
};

/** Data Object Exchange (PCIe 6.0 §7.9.24). The mailboxes are for the device: software's writes reach it as events. */
export const DOE_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [bit("interruptSupport", 0, "RO"), field("interruptMessageNumber", 11, 1, "RO")]),
    register("control", 8, 4, [bit("abort", 0, "W1"), bit("interruptEnable", 1, "RW"), bit("go", 31, "W1")]),
    register("status", 0xc, 4, [
      bit("busy", 0, "RO", { reset: 0 }),
      bit("interruptStatus", 1, "RW1C"),
      bit("error", 2, "RO", { reset: 0 }),
      bit("dataObjectReady", 31, "RO", { reset: 0 }),
    ]),
  ],
};

/** Device 3 (PCIe 6.0 §7.7.9). */
export const DEVICE3_LAYOUT: CapabilityLayout = {
  registers: [
    register("status", 0xc, 4, [
      field("initialLinkWidth", 2, 0, "RO"),
      bit("segmentCaptured", 3, "RO"),
      bit("remoteL0pSupported", 4, "RO"),
    ]),
  ],
};

/** Integrity and Data Encryption, without its stream blocks (PCIe 6.0 §7.9.26). */
export const IDE_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [
      bit("linkStream", 0, "RO"),
      bit("selectiveStreams", 1, "RO"),
      bit("flowThrough", 2, "RO"),
      bit("partialHeaderEncryption", 3, "RO"),
      bit("aggregation", 4, "RO"),
      bit("pcrc", 5, "RO"),
      bit("ideKm", 6, "RO"),
      bit("selectiveForConfig", 7, "RO"),
      field("algorithms", 12, 8, "RO"),
      field("linkTcsMinus1", 15, 13, "RO"),
      field("selectiveStreamsMinus1", 23, 16, "RO"),
      bit("teeLimitedStream", 24, "RO"),
      bit("xt", 25, "RO"),
    ]),
    register("control", 8, 4, [bit("flowThroughEnable", 2, "RW", { needs: { offset: 4, bit: 2 } })]),
  ],
};

/** Data Link Feature (PCIe 6.0 §7.7.4). */
export const DATA_LINK_FEATURE_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 4, [bit("localScaledFlowControl", 0, "RO"), bit("exchangeEnable", 31, "RO")]),
    register("status", 8, 4, [bit("remoteScaledFlowControl", 0, "RO"), bit("remoteValid", 31, "RO")]),
  ],
};
