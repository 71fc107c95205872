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
import { CAP_ID_EXP, PCIE_TYPE } from "./standard-layouts.ts";

/** A bit of a status register that its mask and severity registers have as well: name, bit, what happened. */
type ErrorBit = readonly [name: string, bit: number, meaning: string];

/** Names of uncorrectable errors (PCIe 6.0 §7.8.4.2). */
const uncorrectable: readonly ErrorBit[] = [
  ["dataLinkProtocol", 4, "data link protocol error"],
  ["surpriseDown", 5, "the link went down unasked"],
  ["poisonedTlp", 12, "a poisoned TLP came"],
  ["flowControlProtocol", 13, "flow control protocol error"],
  ["completionTimeout", 14, "no completion came in time"],
  ["completerAbort", 15, "a request was aborted here"],
  ["unexpectedCompletion", 16, "a completion for nothing"],
  ["receiverOverflow", 17, "receiver overflow"],
  ["malformedTlp", 18, "malformed TLP"],
  ["ecrc", 19, "end-to-end CRC error"],
  ["unsupportedRequest", 20, "unsupported request"],
  ["acsViolation", 21, "Access Control Services blocked a request"],
  ["uncorrectableInternal", 22, "internal error"],
  ["mcBlockedTlp", 23, "a multicast TLP was blocked"],
  ["atomicOpEgressBlocked", 24, "an AtomicOp was blocked at egress"],
  ["tlpPrefixBlocked", 25, "a TLP with prefix was blocked"],
  ["poisonedTlpEgressBlocked", 26, "a poisoned TLP was blocked at egress"],
  ["dmwrEgressBlocked", 27, "a Deferrable Memory Write was blocked at egress"],
  ["ideCheckFailed", 28, "the IDE check failed"],
  ["misroutedIdeTlp", 29, "an IDE TLP went astray"],
  ["pcrcCheckFailed", 30, "the plaintext CRC check failed"],
  ["tlpTranslationEgressBlocked", 31, "a translated TLP was blocked at egress"],
];

/** Names of correctable errors (PCIe 6.0 §7.8.4.5). */
const correctable: readonly ErrorBit[] = [
  ["receiverError", 0, "receiver error"],
  ["badTlp", 6, "bad TLP"],
  ["badDllp", 7, "bad DLLP"],
  ["replayNumRollover", 8, "replayed too often"],
  ["replayTimerTimeout", 12, "replay timer ran out"],
  ["advisoryNonFatal", 13, "non-fatal error that is reported as correctable"],
  ["correctedInternal", 14, "internal error, corrected"],
  ["headerLogOverflow", 15, "an error found no room in the header log"],
];

/** All bits of one register; `ones` are those that are 1 after power-on. */
function errors(bits: readonly ErrorBit[], access: FieldAccess, words: string, ones = 0): readonly FieldLayout[] {
  return bits.map(([name, at, meaning]) =>
    bit(name, at, access, words === "" ? meaning : `${words}: ${meaning}`, { reset: (ones >>> at) & 1 }),
  );
}

/** Whether the function is a root port or an event collector, as its PCI Express capability says. */
const isRoot: RegisterCondition = (config) => {
  const type = expressType(config);
  return type === PCIE_TYPE.rootPort || type === PCIE_TYPE.eventCollector;
};

/** Device/Port Type of the function, -1 without a PCI Express capability. */
function expressType(config: RegisterReader): number {
  let at = config.read8(0x34) & 0xfc;
  for (let steps = 0; at >= 0x40 && steps < 48; steps += 1) {
    if (config.read8(at) === CAP_ID_EXP) {
      return (config.read16(at + 2) >>> 4) & 0xf;
    }
    at = config.read8(at + 1) & 0xfc;
  }
  return -1;
}

const hasPrefixLog: RegisterCondition = (config, at) => (config.read8(at + 0x19) & 0x08) !== 0;

function log(name: string, at: number, count: number, meaning: string, when?: RegisterCondition): RegisterLayout[] {
  return Array.from({ length: count }, (_, index) => whole(`${name}${index}`, at + 4 * index, 4, "ROS", meaning, when));
}

/** Advanced Error Reporting (PCIe 6.0 §7.8.4): nearly everything is sticky. */
export const AER_LAYOUT: CapabilityLayout = {
  registers: [
    register("uncorrectableStatus", 4, 4, errors(uncorrectable, "RW1CS", "")),
    register("uncorrectableMask", 8, 4, errors(uncorrectable, "RWS", "not reported", 0x0040_0000)),
    register("uncorrectableSeverity", 0xc, 4, errors(uncorrectable, "RWS", "fatal", 0x0046_2030)),
    register("correctableStatus", 0x10, 4, errors(correctable, "RW1CS", "")),
    register("correctableMask", 0x14, 4, errors(correctable, "RWS", "not reported", 0x0000_e000)),
    register("capabilitiesAndControl", 0x18, 4, [
      field("firstErrorPointer", 4, 0, "ROS", "bit of the first uncorrectable error"),
      bit("ecrcGenerationCapable", 5, "RO", "can add end-to-end CRCs"),
      bit("ecrcGenerationEnable", 6, "RWS", "adds them", { needs: { offset: 0x18, bit: 5 } }),
      bit("ecrcCheckCapable", 7, "RO", "can check end-to-end CRCs"),
      bit("ecrcCheckEnable", 8, "RWS", "checks them", { needs: { offset: 0x18, bit: 7 } }),
      bit("multipleHeaderRecordingCapable", 9, "RO", "can log several headers"),
      bit("multipleHeaderRecordingEnable", 10, "RWS", "logs them", { needs: { offset: 0x19, bit: 1 } }),
      bit("tlpPrefixLogPresent", 11, "ROS", "the prefix log is valid"),
      bit("completionTimeoutLogCapable", 12, "RO", "logs what timed out"),
      field("headerLogSize", 17, 13, "RO", "dwords of the header log"),
      bit("tlpLoggedInFlitMode", 18, "ROS", "the logged TLP was in flit mode"),
      field("loggedTlpSize", 23, 19, "ROS", "dwords logged"),
    ]),
    ...log("headerLog", 0x1c, 4, "header of the first uncorrectable TLP"),
    register(
      "rootErrorCommand",
      0x2c,
      4,
      [
        bit("correctableEnable", 0, "RW", "interrupt on ERR_COR"),
        bit("nonFatalEnable", 1, "RW", "interrupt on ERR_NONFATAL"),
        bit("fatalEnable", 2, "RW", "interrupt on ERR_FATAL"),
      ],
      isRoot,
    ),
    register(
      "rootErrorStatus",
      0x30,
      4,
      [
        bit("correctableReceived", 0, "RW1CS", "ERR_COR came"),
        bit("multipleCorrectable", 1, "RW1CS", "another ERR_COR came"),
        bit("uncorrectableReceived", 2, "RW1CS", "ERR_NONFATAL or ERR_FATAL came"),
        bit("multipleUncorrectable", 3, "RW1CS", "another of them came"),
        bit("firstFatal", 4, "RW1CS", "the first of them was fatal"),
        bit("nonFatalReceived", 5, "RW1CS", "ERR_NONFATAL came"),
        bit("fatalReceived", 6, "RW1CS", "ERR_FATAL came"),
        field("errCorSubclass", 8, 7, "ROS", "subclass of ERR_COR"),
        field("interruptMessageNumber", 31, 27, "RO", "which MSI or MSI-X vector"),
      ],
      isRoot,
    ),
    register(
      "errorSource",
      0x34,
      4,
      [
        field("correctable", 15, 0, "ROS", "who sent ERR_COR"),
        field("uncorrectable", 31, 16, "ROS", "who sent ERR_NONFATAL or ERR_FATAL"),
      ],
      isRoot,
    ),
    ...log("tlpPrefixLog", 0x38, 4, "prefixes of that TLP", hasPrefixLog),
  ],
};

/** Errors of requests that a root port itself makes (PCIe 6.0 §7.9.14.6). */
const rpPio: readonly ErrorBit[] = [
  ["configUr", 0, "config request got UR"],
  ["configCa", 1, "config request got CA"],
  ["configTimeout", 2, "config request timed out"],
  ["ioUr", 8, "I/O request got UR"],
  ["ioCa", 9, "I/O request got CA"],
  ["ioTimeout", 10, "I/O request timed out"],
  ["memoryUr", 16, "memory request got UR"],
  ["memoryCa", 17, "memory request got CA"],
  ["memoryTimeout", 18, "memory request timed out"],
];

const hasRpExtensions: RegisterCondition = (config, at) => (config.read8(at + 4) & 0x20) !== 0;

function rpPioLogSize(config: RegisterReader, at: number): number {
  const capability = config.read16(at + 4);
  return ((capability >>> 8) & 0xf) | ((capability >>> 9) & 0x10);
}

const rpPioLogOf =
  (dwords: number): RegisterCondition =>
  (config, at) =>
    hasRpExtensions(config, at) && rpPioLogSize(config, at) >= dwords;

/** Downstream Port Containment (PCIe 6.0 §7.9.14), with the RP PIO registers of root ports. */
export const DPC_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      field("interruptMessageNumber", 4, 0, "RO", "which MSI or MSI-X vector"),
      bit("rpExtensions", 5, "RO", "has the RP PIO registers"),
      bit("poisonedTlpEgressBlocking", 6, "RO", "can block poisoned TLPs"),
      bit("softwareTrigger", 7, "RO", "software can trigger it"),
      field("rpPioLogSize", 11, 8, "RO", "dwords of the RP PIO logs, bits 3:0"),
      bit("dlActiveErrCor", 12, "RO", "can send ERR_COR when the link is active"),
      bit("rpPioLogSize4", 13, "RO", "dwords of the RP PIO logs, bit 4"),
    ]),
    register("control", 6, 2, [
      field("triggerEnable", 1, 0, "RW", "1 on fatal, 2 on non-fatal and fatal errors"),
      bit("completionControl", 2, "RW", "requests get 0 CA, 1 UR while contained"),
      bit("interruptEnable", 3, "RW", "interrupt when triggered"),
      bit("errCorEnable", 4, "RW", "ERR_COR when triggered"),
      bit("poisonedTlpEgressBlockingEnable", 5, "RW", "blocks poisoned TLPs", { needs: { offset: 4, bit: 6 } }),
      bit("softwareTrigger", 6, "W1", "triggers containment", { needs: { offset: 4, bit: 7 } }),
      bit("dlActiveErrCorEnable", 7, "RW", "ERR_COR when the link is active", { needs: { offset: 5, bit: 4 } }),
      bit("sigSfwEnable", 8, "RW", "tells firmware by SIG_SFW"),
    ]),
    register("status", 8, 2, [
      bit("triggered", 0, "RW1CS", "the port is contained, its link disabled"),
      field("triggerReason", 2, 1, "ROS", "0 uncorrectable, 1 ERR_NONFATAL, 2 ERR_FATAL, 3 see extension"),
      bit("interrupt", 3, "RW1CS", "an interrupt was raised"),
      bit("rpBusy", 4, "RO", "the root port is not ready to be released", { reset: 0 }),
      field("triggerReasonExtension", 6, 5, "ROS", "0 RP PIO error, 1 software trigger"),
      field("rpPioFirstErrorPointer", 12, 8, "ROS", "bit of the first RP PIO error; 0x1f none"),
      bit("sigSfw", 13, "RW1CS", "firmware was told"),
    ]),
    whole("errorSourceId", 0xa, 2, "ROS", "who sent the message that triggered"),
    register("rpPioStatus", 0xc, 4, errors(rpPio, "RW1CS", ""), hasRpExtensions),
    register("rpPioMask", 0x10, 4, errors(rpPio, "RWS", "does not trigger", 0x0007_0707), hasRpExtensions),
    register("rpPioSeverity", 0x14, 4, errors(rpPio, "RWS", "uncorrectable"), hasRpExtensions),
    register("rpPioSysError", 0x18, 4, errors(rpPio, "RWS", "system error"), hasRpExtensions),
    register("rpPioException", 0x1c, 4, errors(rpPio, "RWS", "the processor gets an exception"), hasRpExtensions),
    ...log("rpPioHeaderLog", 0x20, 4, "header of the first RP PIO request", rpPioLogOf(4)),
    ...log("rpPioImpSpecLog", 0x30, 1, "of the implementation", rpPioLogOf(5)),
    ...[0, 1, 2, 3].map((index) =>
      whole(`rpPioTlpPrefixLog${index}`, 0x34 + 4 * index, 4, "ROS", "prefix of that request", rpPioLogOf(6 + index)),
    ),
  ],
};

/** Root Complex Event Collector Endpoint Association (PCIe 6.0 §7.9.10). */
export const EVENT_COLLECTOR_LAYOUT: CapabilityLayout = {
  registers: [
    whole("associationBitmap", 4, 4, "HwInit", "device numbers of this bus whose events are collected"),
    register(
      "associatedBuses",
      8,
      4,
      [
        field("next", 15, 8, "HwInit", "first further bus; 0xff none"),
        field("last", 23, 16, "HwInit", "last further bus"),
      ],
      (config, at) => (config.read8(at + 2) & 0xf) >= 2,
    ),
  ],
};
