import { type CapabilityLayout, type RegisterReader, bit, field, register } from "./register-layout.ts";
import { PCIE_TYPE } from "./standard-layouts.ts";

function portType(config: RegisterReader, at: number): number {
  return (config.read16(at + 2) >>> 4) & 0xf;
}

function version(config: RegisterReader, at: number): number {
  return config.read16(at + 2) & 0xf;
}

/** Has a link: all but functions inside the root complex. */
function hasLink(config: RegisterReader, at: number): boolean {
  const type = portType(config, at);
  return type !== PCIE_TYPE.integratedEndpoint && type !== PCIE_TYPE.eventCollector;
}

/** Is the upper end of a link: root port, switch downstream port, or a PCI-to-PCIe bridge. */
function isDownstream(config: RegisterReader, at: number): boolean {
  const type = portType(config, at);
  return type === PCIE_TYPE.rootPort || type === PCIE_TYPE.downstreamPort || type === PCIE_TYPE.pciToPcieBridge;
}

function hasSlot(config: RegisterReader, at: number): boolean {
  return isDownstream(config, at) && (config.read16(at + 2) & 0x100) !== 0;
}

function hasRoot(config: RegisterReader, at: number): boolean {
  const type = portType(config, at);
  return type === PCIE_TYPE.rootPort || type === PCIE_TYPE.eventCollector;
}

function isPciBridge(config: RegisterReader, at: number): boolean {
  return portType(config, at) === PCIE_TYPE.pcieToPciBridge;
}

const isV2 = (config: RegisterReader, at: number): boolean => version(config, at) >= 2;
const flr = { offset: 7, bit: 4 } as const;

const deviceControlLow = [
  bit("correctableErrorReporting", 0, "RW"),
  bit("nonFatalErrorReporting", 1, "RW"),
  bit("fatalErrorReporting", 2, "RW"),
  bit("unsupportedRequestReporting", 3, "RW"),
  bit("relaxedOrdering", 4, "RW", { reset: 1 }),
  field("maxPayloadSize", 7, 5, "RW", { survives: "flr" }),
  bit("extendedTag", 8, "RW"),
  bit("phantomFunctions", 9, "RW"),
  bit("auxPowerPm", 10, "RW", { survives: "conventional" }),
  bit("noSnoop", 11, "RW", { reset: 1 }),
  field("maxReadRequestSize", 14, 12, "RW", { reset: 2 }),
] as const;

/**
 * PCI Express capability (PCIe 6.0 §7.5.3). Link registers that an FLR keeps are those of the list in PCIe 6.0 §6.6.2.
 */
export const PCIE_LAYOUT: CapabilityLayout = {
  registers: [
    register("flags", 2, 2, [
      field("version", 3, 0, "RO"),
      field("type", 7, 4, "RO"),
      bit("slot", 8, "RO"),
      field("interruptMessageNumber", 13, 9, "RO"),
      bit("flitModeSupported", 15, "RO"),
    ]),
    register("deviceCapabilities", 4, 4, [
      field("maxPayloadSupported", 2, 0, "RO"),
      field("phantomFunctions", 4, 3, "RO"),
      bit("extendedTag", 5, "RO"),
      field("l0sLatency", 8, 6, "RO"),
      field("l1Latency", 11, 9, "RO"),
      bit("roleBasedErrorReporting", 15, "RO"),
      bit("functionLevelReset", 28, "RO"),
      bit("teeIo", 30, "RO"),
    ]),
    register(
      "deviceControl",
      8,
      2,
      [...deviceControlLow, bit("initiateFlr", 15, "W1", { needs: flr })],
      (config, at) => !isPciBridge(config, at),
    ),
    register("deviceControl", 8, 2, [...deviceControlLow, bit("bridgeConfigRetry", 15, "RW")], isPciBridge),
    register("deviceStatus", 0xa, 2, [
      bit("correctableErrorDetected", 0, "RW1C"),
      bit("nonFatalErrorDetected", 1, "RW1C"),
      bit("fatalErrorDetected", 2, "RW1C"),
      bit("unsupportedRequestDetected", 3, "RW1C"),
      bit("auxPowerDetected", 4, "RO"),
      bit("transactionsPending", 5, "RO", { reset: 0 }),
    ]),
    register(
      "linkCapabilities",
      0xc,
      4,
      [
        field("maxLinkSpeed", 3, 0, "RO"),
        field("maxLinkWidth", 9, 4, "RO"),
        field("aspmSupport", 11, 10, "RO"),
        field("portNumber", 31, 24, "RO"),
      ],
      hasLink,
    ),
    register(
      "linkControl",
      0x10,
      2,
      [
        field("aspm", 1, 0, "RW", { survives: "flr" }),
        bit("readCompletionBoundary", 3, "RW", { survives: "flr" }),
        bit("commonClock", 6, "RW", { survives: "flr" }),
        bit("extendedSynch", 7, "RW", { survives: "flr" }),
        bit("clockPowerManagement", 8, "RW", { survives: "flr" }),
      ],
      (config, at) => hasLink(config, at) && !isDownstream(config, at),
    ),
    register(
      "linkControl",
      0x10,
      2,
      [
        field("aspm", 1, 0, "RW", { survives: "flr" }),
        bit("readCompletionBoundary", 3, "RO"),
        bit("linkDisable", 4, "RW"),
        bit("retrainLink", 5, "W1"),
        bit("commonClock", 6, "RW", { survives: "flr" }),
        bit("extendedSynch", 7, "RW", { survives: "flr" }),
        bit("bandwidthManagementInterrupt", 10, "RW"),
        bit("autonomousBandwidthInterrupt", 11, "RW"),
      ],
      isDownstream,
    ),
    register(
      "linkStatus",
      0x12,
      2,
      [
        field("linkSpeed", 3, 0, "RO"),
        field("linkWidth", 9, 4, "RO"),
        bit("linkTraining", 11, "RO"),
        bit("slotClock", 12, "RO"),
        bit("dataLinkActive", 13, "RO"),
        bit("bandwidthManagementStatus", 14, "RW1C"),
        bit("autonomousBandwidthStatus", 15, "RW1C"),
      ],
      hasLink,
    ),
    register("slotCapabilities", 0x14, 4, [field("slotNumber", 31, 19, "RO")], hasSlot),
    register(
      "slotControl",
      0x18,
      2,
      [
        field("interruptEnables", 5, 0, "RW"),
        field("attentionIndicator", 7, 6, "RW"),
        field("powerIndicator", 9, 8, "RW"),
        bit("powerController", 10, "RW"),
        bit("dataLinkStateChangedEnable", 12, "RW"),
      ],
      hasSlot,
    ),
    register(
      "slotStatus",
      0x1a,
      2,
      [
        bit("attentionButtonPressed", 0, "RW1C"),
        bit("powerFaultDetected", 1, "RW1C"),
        bit("mrlSensorChanged", 2, "RW1C"),
        bit("presenceDetectChanged", 3, "RW1C"),
        bit("commandCompleted", 4, "RW1C"),
        bit("presenceDetect", 6, "RO"),
        bit("dataLinkStateChanged", 8, "RW1C"),
      ],
      hasSlot,
    ),
    register("rootControl", 0x1c, 2, [field("enables", 4, 0, "RW")], hasRoot),
    register("rootStatus", 0x20, 4, [field("pmeRequesterId", 15, 0, "RO"), bit("pmeStatus", 16, "RW1C")], hasRoot),
    register(
      "deviceCapabilities2",
      0x24,
      4,
      [
        field("completionTimeoutRanges", 3, 0, "RO"),
        bit("completionTimeoutDisable", 4, "RO"),
        bit("ariForwarding", 5, "RO"),
        bit("ltr", 11, "RO"),
        bit("tenBitTagCompleter", 16, "RO"),
        bit("tenBitTagRequester", 17, "RO"),
        bit("endEndTlpPrefix", 21, "RO"),
        field("maxEndEndTlpPrefixes", 23, 22, "RO"),
      ],
      isV2,
    ),
    register(
      "deviceControl2",
      0x28,
      2,
      [
        field("completionTimeoutValue", 3, 0, "RW"),
        bit("completionTimeoutDisable", 4, "RW", { needs: { offset: 0x24, bit: 4 } }),
        bit("ariForwarding", 5, "RW", { needs: { offset: 0x24, bit: 5 } }),
        bit("atomicOpRequester", 6, "RW"),
        bit("atomicOpEgressBlocking", 7, "RW"),
        bit("idoRequest", 8, "RW"),
        bit("idoCompletion", 9, "RW"),
        bit("ltr", 10, "RW", { needs: { offset: 0x25, bit: 3 } }),
        bit("tenBitTagRequester", 12, "RW", { needs: { offset: 0x26, bit: 1 } }),
        field("obff", 14, 13, "RW"),
        bit("endEndTlpPrefixBlocking", 15, "RW", { needs: { offset: 0x26, bit: 5 } }),
      ],
      isV2,
    ),
    register(
      "linkControl2",
      0x30,
      2,
      [
        field("targetLinkSpeed", 3, 0, "RW", { survives: "conventional" }),
        bit("enterCompliance", 4, "RW", { survives: "conventional" }),
        bit("autonomousSpeedDisable", 5, "RW", { survives: "conventional" }),
        field("compliance", 15, 7, "RW", { survives: "conventional" }),
      ],
      (config, at) => isV2(config, at) && hasLink(config, at),
    ),
  ],
};
