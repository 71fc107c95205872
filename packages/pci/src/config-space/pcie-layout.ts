import {
  type CapabilityLayout,
  type RegisterCondition,
  type RegisterReader,
  bit,
  field,
  register,
  whole,
} from "./register-layout.ts";
import { PCIE_TYPE } from "./standard-layouts.ts";

function portType(config: RegisterReader, at: number): number {
  return (config.read16(at + 2) >>> 4) & 0xf;
}

/** Has a link: all but functions inside the root complex. */
const hasLink: RegisterCondition = (config, at) => {
  const type = portType(config, at);
  return type !== PCIE_TYPE.integratedEndpoint && type !== PCIE_TYPE.eventCollector;
};

/** Is the upper end of a link: root port, switch downstream port, or a PCI-to-PCIe bridge. */
const isDownstream: RegisterCondition = (config, at) => {
  const type = portType(config, at);
  return type === PCIE_TYPE.rootPort || type === PCIE_TYPE.downstreamPort || type === PCIE_TYPE.pciToPcieBridge;
};

const isUpper: RegisterCondition = (config, at) => hasLink(config, at) && !isDownstream(config, at);
const hasSlot: RegisterCondition = (config, at) => isDownstream(config, at) && (config.read16(at + 2) & 0x100) !== 0;

const hasRoot: RegisterCondition = (config, at) => {
  const type = portType(config, at);
  return type === PCIE_TYPE.rootPort || type === PCIE_TYPE.eventCollector;
};

const isPciBridge: RegisterCondition = (config, at) => portType(config, at) === PCIE_TYPE.pcieToPciBridge;
const isV2: RegisterCondition = (config, at) => (config.read16(at + 2) & 0xf) >= 2;
const isV2WithLink: RegisterCondition = (config, at) => isV2(config, at) && hasLink(config, at);
const isV2WithSlot: RegisterCondition = (config, at) => isV2(config, at) && hasSlot(config, at);

const deviceControl = [
  bit("correctableErrorReporting", 0, "RW", "sends ERR_COR"),
  bit("nonFatalErrorReporting", 1, "RW", "sends ERR_NONFATAL"),
  bit("fatalErrorReporting", 2, "RW", "sends ERR_FATAL"),
  bit("unsupportedRequestReporting", 3, "RW", "reports unsupported requests"),
  bit("relaxedOrdering", 4, "RW", "may set Relaxed Ordering", { reset: 1 }),
  field("maxPayloadSize", 7, 5, "RW", "largest payload sent: 128 << n bytes", { keptByFlr: true }),
  bit("extendedTag", 8, "RW", "uses 8-bit tags"),
  bit("phantomFunctions", 9, "RW", "uses unclaimed function numbers as tags"),
  bit("auxPowerPm", 10, "RWS", "draws auxiliary power whatever PME_En"),
  bit("noSnoop", 11, "RW", "may set No Snoop", { reset: 1 }),
  field("maxReadRequestSize", 14, 12, "RW", "largest read sent: 128 << n bytes", { reset: 2 }),
] as const;

const kept = { keptByFlr: true } as const;
const aspm = field("aspm", 1, 0, "RW", "link states entered: L0s, L1", kept);
const commonClock = bit("commonClock", 6, "RW", "both ends use one reference clock", kept);
const extendedSynch = bit("extendedSynch", 7, "RW", "longer training sequences", kept);

/**
 * PCI Express capability (PCIe 6.0 §7.5.3). Link registers that an FLR keeps are those of the list in PCIe 6.0 §6.6.2.
 */
export const PCIE_LAYOUT: CapabilityLayout = {
  registers: [
    register("flags", 2, 2, [
      field("version", 3, 0, "RO", "version of the capability"),
      field("type", 7, 4, "RO", "Device/Port Type"),
      bit("slot", 8, "HwInit", "the link leads to a slot"),
      field("interruptMessageNumber", 13, 9, "RO", "which MSI or MSI-X vector"),
      bit("flitModeSupported", 15, "HwInit", "the link can use flits"),
    ]),
    register("deviceCapabilities", 4, 4, [
      field("maxPayloadSupported", 2, 0, "RO", "largest payload accepted: 128 << n bytes"),
      field("phantomFunctions", 4, 3, "RO", "bits of the function number used as tag"),
      bit("extendedTag", 5, "RO", "can use 8-bit tags"),
      field("l0sLatency", 8, 6, "RO", "acceptable L0s latency, coded"),
      field("l1Latency", 11, 9, "RO", "acceptable L1 latency, coded"),
      field("attentionAndPower", 14, 12, "RO", "attention button, attention and power indicator (revision 1.0a)"),
      bit("roleBasedErrorReporting", 15, "RO", "reports errors by role"),
      bit("errCorSubclass", 16, "RO", "can name the subclass of ERR_COR"),
      field("slotPowerLimitValue", 25, 18, "RO", "slot power limit, mantissa"),
      field("slotPowerLimitScale", 27, 26, "RO", "slot power limit: 10^-n"),
      bit("functionLevelReset", 28, "RO", "has FLR"),
      bit("mixedMps", 29, "RO", "payload sizes may differ by direction"),
      bit("teeIo", 30, "HwInit", "has TEE device interfaces (TDISP)"),
    ]),
    register(
      "deviceControl",
      8,
      2,
      [...deviceControl, bit("initiateFlr", 15, "W1", "starts an FLR", { needs: { offset: 7, bit: 4 } })],
      (config, at) => !isPciBridge(config, at),
    ),
    register(
      "deviceControl",
      8,
      2,
      [...deviceControl, bit("bridgeConfigRetry", 15, "RW", "answers with retry while the PCI side is busy")],
      isPciBridge,
    ),
    register("deviceStatus", 0xa, 2, [
      bit("correctableErrorDetected", 0, "RW1C", "a correctable error was detected"),
      bit("nonFatalErrorDetected", 1, "RW1C", "a non-fatal error was detected"),
      bit("fatalErrorDetected", 2, "RW1C", "a fatal error was detected"),
      bit("unsupportedRequestDetected", 3, "RW1C", "an unsupported request came"),
      bit("auxPowerDetected", 4, "RO", "there is auxiliary power"),
      bit("transactionsPending", 5, "RO", "non-posted requests are not completed", { reset: 0 }),
      bit("emergencyPowerReduction", 6, "RW1C", "power was reduced in an emergency"),
    ]),
    register(
      "linkCapabilities",
      0xc,
      4,
      [
        field("maxLinkSpeed", 3, 0, "RO", "index into the supported speeds"),
        field("maxLinkWidth", 9, 4, "RO", "lanes"),
        field("aspmSupport", 11, 10, "RO", "L0s, L1"),
        field("l0sExitLatency", 14, 12, "RO", "time out of L0s, coded"),
        field("l1ExitLatency", 17, 15, "RO", "time out of L1, coded"),
        bit("clockPowerManagement", 18, "RO", "tolerates that the reference clock stops"),
        bit("surpriseDownReporting", 19, "RO", "detects that the link went down"),
        bit("dataLinkActiveReporting", 20, "RO", "tells when the link is active"),
        bit("bandwidthNotification", 21, "RO", "tells of bandwidth changes"),
        bit("aspmOptionality", 22, "HwInit", "ASPM bits are to be believed"),
        field("portNumber", 31, 24, "HwInit", "number of the port"),
      ],
      hasLink,
    ),
    register(
      "linkControl",
      0x10,
      2,
      [
        aspm,
        bit("readCompletionBoundary", 3, "RW", "0 64 bytes, 1 128 bytes", kept),
        commonClock,
        extendedSynch,
        bit("clockPowerManagement", 8, "RW", "CLKREQ# may stop the clock", {
          ...kept,
          needs: { offset: 0xe, bit: 2 },
        }),
        bit("autonomousWidthDisable", 9, "RW", "width changes only for reliability", kept),
      ],
      isUpper,
    ),
    register(
      "linkControl",
      0x10,
      2,
      [
        aspm,
        bit("readCompletionBoundary", 3, "RO", "0 64 bytes, 1 128 bytes"),
        bit("linkDisable", 4, "RW", "takes the link down"),
        bit("retrainLink", 5, "W1", "trains the link anew"),
        commonClock,
        extendedSynch,
        bit("autonomousWidthDisable", 9, "RW", "width changes only for reliability", kept),
        bit("bandwidthManagementInterrupt", 10, "RW", "interrupt on bandwidth management", {
          needs: { offset: 0xe, bit: 5 },
        }),
        bit("autonomousBandwidthInterrupt", 11, "RW", "interrupt on autonomous bandwidth change", {
          needs: { offset: 0xe, bit: 5 },
        }),
        field("drsSignaling", 15, 14, "RW", "what a DRS message does"),
      ],
      isDownstream,
    ),
    register(
      "linkStatus",
      0x12,
      2,
      [
        field("linkSpeed", 3, 0, "RO", "speed in use"),
        field("linkWidth", 9, 4, "RO", "lanes in use"),
        bit("linkTraining", 11, "RO", "training goes on"),
        bit("slotClock", 12, "HwInit", "uses the reference clock of the slot"),
        bit("dataLinkActive", 13, "RO", "the link is active"),
        bit("bandwidthManagementStatus", 14, "RW1C", "bandwidth was managed"),
        bit("autonomousBandwidthStatus", 15, "RW1C", "bandwidth changed by itself"),
      ],
      hasLink,
    ),
    register(
      "slotCapabilities",
      0x14,
      4,
      [
        bit("attentionButton", 0, "HwInit", "has an attention button"),
        bit("powerController", 1, "HwInit", "power can be switched"),
        bit("mrlSensor", 2, "HwInit", "has a latch sensor"),
        bit("attentionIndicator", 3, "HwInit", "has an attention indicator"),
        bit("powerIndicator", 4, "HwInit", "has a power indicator"),
        bit("hotPlugSurprise", 5, "HwInit", "may be pulled without notice"),
        bit("hotPlugCapable", 6, "HwInit", "hot-plug is possible"),
        field("slotPowerLimitValue", 14, 7, "HwInit", "slot power limit, mantissa"),
        field("slotPowerLimitScale", 16, 15, "HwInit", "slot power limit: 10^-n"),
        bit("electromechanicalInterlock", 17, "HwInit", "has an interlock"),
        bit("noCommandCompleted", 18, "HwInit", "commands complete without notice"),
        field("slotNumber", 31, 19, "HwInit", "physical slot number"),
      ],
      hasSlot,
    ),
    register(
      "slotControl",
      0x18,
      2,
      [
        bit("attentionButtonEnable", 0, "RW", "notice when the button is pressed"),
        bit("powerFaultEnable", 1, "RW", "notice of power faults"),
        bit("mrlSensorEnable", 2, "RW", "notice of the latch"),
        bit("presenceDetectEnable", 3, "RW", "notice of presence changes"),
        bit("commandCompletedEnable", 4, "RW", "notice of completed commands"),
        bit("hotPlugInterruptEnable", 5, "RW", "notices raise an interrupt"),
        field("attentionIndicator", 7, 6, "RW", "1 on, 2 blink, 3 off"),
        field("powerIndicator", 9, 8, "RW", "1 on, 2 blink, 3 off"),
        bit("powerController", 10, "RW", "1 switches the power off"),
        bit("interlockControl", 11, "W1", "toggles the interlock"),
        bit("dataLinkStateChangedEnable", 12, "RW", "notice of link changes"),
        bit("autoSlotPowerLimitDisable", 13, "RW", "sends no Set_Slot_Power_Limit at link up"),
        bit("inBandPresenceDisable", 14, "RW", "presence does not follow the link"),
      ],
      hasSlot,
    ),
    register(
      "slotStatus",
      0x1a,
      2,
      [
        bit("attentionButtonPressed", 0, "RW1C", "the button was pressed"),
        bit("powerFaultDetected", 1, "RW1C", "a power fault happened"),
        bit("mrlSensorChanged", 2, "RW1C", "the latch moved"),
        bit("presenceDetectChanged", 3, "RW1C", "an adapter came or went"),
        bit("commandCompleted", 4, "RW1C", "a command completed"),
        bit("mrlSensorState", 5, "RO", "the latch is open"),
        bit("presenceDetect", 6, "RO", "an adapter is there"),
        bit("interlockStatus", 7, "RO", "the interlock is engaged"),
        bit("dataLinkStateChanged", 8, "RW1C", "the link came up or went down"),
      ],
      hasSlot,
    ),
    register(
      "rootControl",
      0x1c,
      2,
      [
        bit("systemErrorOnCorrectable", 0, "RW", "system error on ERR_COR"),
        bit("systemErrorOnNonFatal", 1, "RW", "system error on ERR_NONFATAL"),
        bit("systemErrorOnFatal", 2, "RW", "system error on ERR_FATAL"),
        bit("pmeInterrupt", 3, "RW", "interrupt on PME"),
        bit("rrsSoftwareVisibility", 4, "RW", "software sees Request Retry Status", {
          needs: { offset: 0x1e, bit: 0 },
        }),
      ],
      hasRoot,
    ),
    register(
      "rootCapabilities",
      0x1e,
      2,
      [bit("rrsSoftwareVisibility", 0, "RO", "can show Request Retry Status")],
      hasRoot,
    ),
    register(
      "rootStatus",
      0x20,
      4,
      [
        field("pmeRequesterId", 15, 0, "RO", "who sent the PME"),
        bit("pmeStatus", 16, "RW1C", "a PME came"),
        bit("pmePending", 17, "RO", "another PME waits"),
      ],
      hasRoot,
    ),
    register(
      "deviceCapabilities2",
      0x24,
      4,
      [
        field("completionTimeoutRanges", 3, 0, "HwInit", "ranges A to D"),
        bit("completionTimeoutDisable", 4, "RO", "the timeout can be switched off"),
        bit("ariForwarding", 5, "RO", "passes ARI device numbers down"),
        bit("atomicOpRouting", 6, "RO", "routes AtomicOps"),
        bit("atomicOpCompleter32", 7, "RO", "completes 32-bit AtomicOps"),
        bit("atomicOpCompleter64", 8, "RO", "completes 64-bit AtomicOps"),
        bit("casCompleter128", 9, "RO", "completes 128-bit CAS"),
        bit("noRoPrPassing", 10, "HwInit", "no relaxed ordering between posted requests"),
        bit("ltr", 11, "RO", "has Latency Tolerance Reporting"),
        field("tphCompleter", 13, 12, "RO", "1 TPH, 3 TPH and extended TPH"),
        field("lnSystemCls", 15, 14, "HwInit", "line size of Lightweight Notification"),
        bit("tenBitTagCompleter", 16, "HwInit", "accepts 10-bit tags"),
        bit("tenBitTagRequester", 17, "HwInit", "can send 10-bit tags"),
        field("obff", 19, 18, "HwInit", "1 message, 2 WAKE#, 3 both"),
        bit("extendedFmt", 20, "RO", "understands the 3-bit Fmt field"),
        bit("endEndTlpPrefix", 21, "HwInit", "passes End-End TLP Prefixes, which PASID needs"),
        field("maxEndEndTlpPrefixes", 23, 22, "HwInit", "how many; 0 = 4"),
        field("emergencyPowerReduction", 25, 24, "HwInit", "kind of emergency power reduction"),
        bit("emergencyPowerReductionInit", 26, "HwInit", "needs initialisation afterwards"),
        bit("dmwrCompleter", 28, "HwInit", "completes Deferrable Memory Writes"),
        field("dmwrLengths", 30, 29, "HwInit", "longest Deferrable Memory Write"),
        bit("frs", 31, "HwInit", "sends Function Readiness Status"),
      ],
      isV2,
    ),
    register(
      "deviceControl2",
      0x28,
      2,
      [
        field("completionTimeoutValue", 3, 0, "RW", "range of the timeout"),
        bit("completionTimeoutDisable", 4, "RW", "no timeout", { needs: { offset: 0x24, bit: 4 } }),
        bit("ariForwarding", 5, "RW", "device numbers below are part of the function number", {
          needs: { offset: 0x24, bit: 5 },
        }),
        bit("atomicOpRequester", 6, "RW", "may send AtomicOps"),
        bit("atomicOpEgressBlocking", 7, "RW", "AtomicOps do not leave here"),
        bit("idoRequest", 8, "RW", "may set ID-based ordering in requests"),
        bit("idoCompletion", 9, "RW", "may set ID-based ordering in completions"),
        bit("ltr", 10, "RW", "sends latency tolerance", { needs: { offset: 0x25, bit: 3 } }),
        bit("emergencyPowerReductionRequest", 11, "RW", "asks for power reduction", {
          needs: { offset: 0x27, bit: 0 },
        }),
        bit("tenBitTagRequester", 12, "RW", "sends 10-bit tags", { needs: { offset: 0x26, bit: 1 } }),
        field("obff", 14, 13, "RW", "0 off, 1 message A, 2 message B, 3 WAKE#"),
        bit("endEndTlpPrefixBlocking", 15, "RW", "End-End TLP Prefixes do not leave here", {
          needs: { offset: 0x26, bit: 5 },
        }),
      ],
      isV2,
    ),
    whole("deviceStatus2", 0x2a, 2, "RO", "reserved", isV2),
    register(
      "linkCapabilities2",
      0x2c,
      4,
      [
        field("supportedSpeeds", 7, 1, "HwInit", "2.5, 5, 8, 16, 32, 64 GT/s from bit 0"),
        bit("crosslink", 8, "RO", "can be a crosslink"),
        field("lowerSkpGeneration", 15, 9, "HwInit", "speeds at which SKPs can be sent more rarely"),
        field("lowerSkpReception", 22, 16, "HwInit", "speeds at which rarer SKPs are accepted"),
        bit("retimerPresence", 23, "HwInit", "detects a retimer"),
        bit("twoRetimers", 24, "HwInit", "detects two retimers"),
        bit("drs", 31, "HwInit", "sends Device Readiness Status"),
      ],
      isV2WithLink,
    ),
    register(
      "linkControl2",
      0x30,
      2,
      [
        field("targetLinkSpeed", 3, 0, "RWS", "highest speed to use", {
          reset: (config, at) => config.read8(at + 0xc) & 0xf,
        }),
        bit("enterCompliance", 4, "RWS", "goes to compliance mode"),
        bit("autonomousSpeedDisable", 5, "RWS", "speed changes only for reliability"),
        bit("selectableDeemphasis", 6, "HwInit", "1 = -3.5 dB at 5 GT/s"),
        field("transmitMargin", 9, 7, "RWS", "transmitter margin, coded"),
        bit("enterModifiedCompliance", 10, "RWS", "modified compliance pattern"),
        bit("complianceSos", 11, "RWS", "sends SKP ordered sets in compliance"),
        field("compliancePreset", 15, 12, "RWS", "preset in compliance"),
      ],
      isV2WithLink,
    ),
    register(
      "linkStatus2",
      0x32,
      2,
      [
        bit("deemphasis", 0, "RO", "1 = -3.5 dB"),
        bit("equalizationComplete", 1, "ROS", "equalization at 8 GT/s is done"),
        bit("equalizationPhase1", 2, "ROS", "phase 1 succeeded"),
        bit("equalizationPhase2", 3, "ROS", "phase 2 succeeded"),
        bit("equalizationPhase3", 4, "ROS", "phase 3 succeeded"),
        bit("equalizationRequest", 5, "RW1CS", "the other end asks for equalization"),
        bit("retimerPresence", 6, "ROS", "a retimer was seen"),
        bit("twoRetimers", 7, "ROS", "two retimers were seen"),
        field("crosslinkResolution", 9, 8, "RO", "which end this is"),
        bit("flitMode", 10, "RO", "the link runs in flit mode"),
        field("downstreamComponentPresence", 14, 12, "RO", "what is seen below"),
        bit("drsReceived", 15, "RW1C", "a DRS message came"),
      ],
      isV2WithLink,
    ),
    register(
      "slotCapabilities2",
      0x34,
      4,
      [bit("inBandPresenceDisable", 0, "HwInit", "presence can be told apart from the link")],
      isV2WithSlot,
    ),
    whole("slotControl2", 0x38, 2, "RO", "reserved", isV2WithSlot),
    whole("slotStatus2", 0x3a, 2, "RO", "reserved", isV2WithSlot),
  ],
};
