import { type CapabilityLayout, type FieldLayout, bit, field, register } from "./register-layout.ts";

/** Advanced Error Reporting. */
export const EXT_CAP_ID_AER: number = 0x01;
/** Vendor-Specific Extended Capability. */
export const EXT_CAP_ID_VSEC: number = 0x0b;
/** Access Control Services. */
export const EXT_CAP_ID_ACS: number = 0x0d;
/** Alternative Routing-ID Interpretation. */
export const EXT_CAP_ID_ARI: number = 0x0e;
/** Address Translation Services. */
export const EXT_CAP_ID_ATS: number = 0x0f;
/** Single Root I/O Virtualization. */
export const EXT_CAP_ID_SRIOV: number = 0x10;
/** Page Request Interface. */
export const EXT_CAP_ID_PRI: number = 0x13;
/** Process Address Space ID. */
export const EXT_CAP_ID_PASID: number = 0x1b;
/** Designated Vendor-Specific Extended Capability. */
export const EXT_CAP_ID_DVSEC: number = 0x23;

/** Address Translation Services (PCIe 6.0 §10.5.1). */
export const ATS_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      field("invalidateQueueDepth", 4, 0, "RO"),
      bit("pageAlignedRequest", 5, "RO"),
      bit("globalInvalidateSupported", 6, "RO"),
      bit("relaxedOrderingSupported", 7, "RO"),
      bit("memoryAttributesSupported", 8, "RO"),
    ]),
    register("control", 6, 2, [
      field("stu", 4, 0, "RW"),
      field("memoryAttributesDefault", 13, 11, "RW", { needs: { offset: 5, bit: 0 } }),
      bit("memoryAttributesEnable", 14, "RW", { needs: { offset: 5, bit: 0 } }),
      bit("enable", 15, "RW"),
    ]),
  ],
};

/** Page Request Interface (PCIe 6.0 §10.5.2). After a reset the interface is stopped. */
export const PRI_LAYOUT: CapabilityLayout = {
  registers: [
    register("control", 4, 2, [bit("enable", 0, "RW"), bit("reset", 1, "W1")]),
    register("status", 6, 2, [
      bit("responseFailure", 0, "RW1C"),
      bit("unexpectedPageRequestGroupIndex", 1, "RW1C"),
      bit("stopped", 8, "RO", { reset: 1 }),
      bit("prgResponsePasidRequired", 15, "RO"),
    ]),
    register("outstandingCapacity", 8, 4, [field("outstandingCapacity", 31, 0, "RO")]),
    register("outstandingAllocation", 12, 4, [field("outstandingAllocation", 31, 0, "RW")]),
  ],
};

/** Process Address Space ID (PCIe 6.0 §7.8.9). */
export const PASID_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      bit("executePermission", 1, "RO"),
      bit("privilegedMode", 2, "RO"),
      field("maxPasidWidth", 12, 8, "RO"),
    ]),
    register("control", 6, 2, [
      bit("enable", 0, "RW"),
      bit("executePermissionEnable", 1, "RW", { needs: { offset: 4, bit: 1 } }),
      bit("privilegedModeEnable", 2, "RW", { needs: { offset: 4, bit: 2 } }),
    ]),
  ],
};

const acsBits = [
  "sourceValidation",
  "translationBlocking",
  "p2pRequestRedirect",
  "p2pCompletionRedirect",
  "upstreamForwarding",
  "p2pEgressControl",
  "directTranslatedP2p",
] as const;

/** Access Control Services (PCIe 6.0 §7.7.11): a control bit exists where the capability bit is set. */
export const ACS_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      ...acsBits.map((name, index): FieldLayout => bit(name, index, "RO")),
      field("egressControlVectorSize", 15, 8, "RO"),
    ]),
    register(
      "control",
      6,
      2,
      acsBits.map((name, index): FieldLayout => bit(name, index, "RW", { needs: { offset: 4, bit: index } })),
    ),
    register(
      "egressControlVector",
      8,
      4,
      [field("egressControlVector", 31, 0, "RW")],
      (config, at) => (config.read16(at + 4) & 0x20) !== 0,
    ),
  ],
};

/** Alternative Routing-ID Interpretation (PCIe 6.0 §7.8.8). */
export const ARI_LAYOUT: CapabilityLayout = {
  registers: [
    register("capability", 4, 2, [
      bit("mfvcFunctionGroups", 0, "RO"),
      bit("acsFunctionGroups", 1, "RO"),
      field("nextFunction", 15, 8, "RO"),
    ]),
    register("control", 6, 2, [
      bit("mfvcFunctionGroupsEnable", 0, "RW", { needs: { offset: 4, bit: 0 } }),
      bit("acsFunctionGroupsEnable", 1, "RW", { needs: { offset: 4, bit: 1 } }),
      field("functionGroup", 6, 4, "RW"),
    ]),
  ],
};

/** Single Root I/O Virtualization (PCIe 6.0 §9.3.3). */
export const SRIOV_LAYOUT: CapabilityLayout = {
  registers: [
    register("capabilities", 4, 4, [
      bit("vfMigration", 0, "RO"),
      bit("ariHierarchyPreserved", 1, "RO"),
      bit("tenBitTagRequester", 2, "RO"),
      field("migrationInterruptMessageNumber", 31, 21, "RO"),
    ]),
    register("control", 8, 2, [
      bit("vfEnable", 0, "RW"),
      bit("vfMigrationEnable", 1, "RW", { needs: { offset: 4, bit: 0 } }),
      bit("vfMigrationInterruptEnable", 2, "RW", { needs: { offset: 4, bit: 0 } }),
      bit("vfMemorySpace", 3, "RW"),
      bit("ariCapableHierarchy", 4, "RW"),
      bit("tenBitTagRequesterEnable", 5, "RW", { needs: { offset: 4, bit: 2 } }),
    ]),
    register("status", 0xa, 2, [bit("vfMigrationStatus", 0, "RW1C")]),
    register("initialVfs", 0xc, 2, [field("initialVfs", 15, 0, "RO")]),
    register("totalVfs", 0xe, 2, [field("totalVfs", 15, 0, "RO")]),
    register("numVfs", 0x10, 2, [field("numVfs", 15, 0, "RW")]),
    register("functionDependencyLink", 0x12, 1, [field("functionDependencyLink", 7, 0, "RO")]),
    register("firstVfOffset", 0x14, 2, [field("firstVfOffset", 15, 0, "RO")]),
    register("vfStride", 0x16, 2, [field("vfStride", 15, 0, "RO")]),
    register("vfDeviceId", 0x1a, 2, [field("vfDeviceId", 15, 0, "RO")]),
    register("supportedPageSizes", 0x1c, 4, [field("supportedPageSizes", 31, 0, "RO")]),
    register("systemPageSize", 0x20, 4, [field("systemPageSize", 31, 0, "RW", { reset: 1 })]),
  ],
};

const uncorrectable = [
  ["dataLinkProtocol", 4],
  ["surpriseDown", 5],
  ["poisonedTlp", 12],
  ["flowControlProtocol", 13],
  ["completionTimeout", 14],
  ["completerAbort", 15],
  ["unexpectedCompletion", 16],
  ["receiverOverflow", 17],
  ["malformedTlp", 18],
  ["ecrc", 19],
  ["unsupportedRequest", 20],
  ["acsViolation", 21],
  ["uncorrectableInternal", 22],
  ["mcBlockedTlp", 23],
  ["atomicOpEgressBlocked", 24],
  ["tlpPrefixBlocked", 25],
  ["poisonedTlpEgressBlocked", 26],
  ["dmwrEgressBlocked", 27],
  ["ideCheckFailed", 28],
  ["misroutedIdeTlp", 29],
  ["pcrcCheckFailed", 30],
  ["tlpTranslationEgressBlocked", 31],
] as const;

const correctable = [
  ["receiverError", 0],
  ["badTlp", 6],
  ["badDllp", 7],
  ["replayNumRollover", 8],
  ["replayTimerTimeout", 12],
  ["advisoryNonFatal", 13],
  ["correctedInternal", 14],
  ["headerLogOverflow", 15],
] as const;

function sticky(names: readonly (readonly [string, number])[], access: "RW" | "RW1C"): readonly FieldLayout[] {
  return names.map(([name, at]) => bit(name, at, access, { survives: "conventional" }));
}

/** Advanced Error Reporting (PCIe 6.0 §7.8.4): every register is sticky. */
export const AER_LAYOUT: CapabilityLayout = {
  registers: [
    register("uncorrectableStatus", 4, 4, sticky(uncorrectable, "RW1C")),
    register("uncorrectableMask", 8, 4, sticky(uncorrectable, "RW")),
    register("uncorrectableSeverity", 0xc, 4, sticky(uncorrectable, "RW")),
    register("correctableStatus", 0x10, 4, sticky(correctable, "RW1C")),
    register("correctableMask", 0x14, 4, sticky(correctable, "RW")),
    register("capabilitiesAndControl", 0x18, 4, [
      field("firstErrorPointer", 4, 0, "RO"),
      bit("ecrcGenerationCapable", 5, "RO"),
      bit("ecrcGenerationEnable", 6, "RW", { survives: "conventional", needs: { offset: 0x18, bit: 5 } }),
      bit("ecrcCheckCapable", 7, "RO"),
      bit("ecrcCheckEnable", 8, "RW", { survives: "conventional", needs: { offset: 0x18, bit: 7 } }),
      bit("multipleHeaderRecordingCapable", 9, "RO"),
      bit("multipleHeaderRecordingEnable", 10, "RW", { survives: "conventional", needs: { offset: 0x19, bit: 1 } }),
      bit("tlpPrefixLogPresent", 11, "RO"),
    ]),
    register("headerLog0", 0x1c, 4, [field("headerLog0", 31, 0, "RO")]),
    register("headerLog1", 0x20, 4, [field("headerLog1", 31, 0, "RO")]),
    register("headerLog2", 0x24, 4, [field("headerLog2", 31, 0, "RO")]),
    register("headerLog3", 0x28, 4, [field("headerLog3", 31, 0, "RO")]),
  ],
};
