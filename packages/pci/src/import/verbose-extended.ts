import { type CapabilityRules, of, value } from "./verbose-rule.ts";
import { acsWords, correctableWords, l1Words, uncorrectableWords } from "./verbose-words.ts";

/** What the text says of capabilities of the extended list, by id. */
export const extendedRules: Readonly<Record<number, CapabilityRules>> = {
  0x01: {
    lines: [
      { label: "UESta", flags: of("uncorrectableStatus", uncorrectableWords) },
      { label: "UEMsk", flags: of("uncorrectableMask", uncorrectableWords) },
      { label: "UESvrt", flags: of("uncorrectableSeverity", uncorrectableWords) },
      { label: "CESta", flags: of("correctableStatus", correctableWords) },
      { label: "CEMsk", flags: of("correctableMask", correctableWords) },
      {
        label: "AERCap",
        flags: of("capabilitiesAndControl", {
          ECRCGenCap: "ecrcGenerationCapable",
          ECRCGenEn: "ecrcGenerationEnable",
          ECRCChkCap: "ecrcCheckCapable",
          ECRCChkEn: "ecrcCheckEnable",
          MultHdrRecCap: "multipleHeaderRecordingCapable",
          MultHdrRecEn: "multipleHeaderRecordingEnable",
          TLPPfxPres: "tlpPrefixLogPresent",
          HdrLogCap: "completionTimeoutLogCapable",
        }),
        values: [value(/First Error Pointer: ([\da-f]{2})/, ["capabilitiesAndControl.firstErrorPointer", "hex"])],
      },
      {
        label: "HeaderLog",
        values: [
          value(
            /HeaderLog: ([\da-f]{8}) ([\da-f]{8}) ([\da-f]{8}) ([\da-f]{8})/,
            ["headerLog0", "hex"],
            ["headerLog1", "hex"],
            ["headerLog2", "hex"],
            ["headerLog3", "hex"],
          ),
        ],
      },
      {
        label: "RootCmd",
        flags: of("rootErrorCommand", {
          CERptEn: "correctableEnable",
          NFERptEn: "nonFatalEnable",
          FERptEn: "fatalEnable",
        }),
      },
      {
        label: "RootSta",
        flags: of("rootErrorStatus", {
          CERcvd: "correctableReceived",
          MultCERcvd: "multipleCorrectable",
          UERcvd: "uncorrectableReceived",
          MultUERcvd: "multipleUncorrectable",
          FirstFatal: "firstFatal",
          NonFatalMsg: "nonFatalReceived",
          FatalMsg: "fatalReceived",
        }),
      },
      {
        label: "ErrorSrc",
        values: [
          value(
            /ERR_COR: ([\da-f]{4}) ERR_FATAL\/NONFATAL: ([\da-f]{4})/,
            ["errorSource.correctable", "hex"],
            ["errorSource.uncorrectable", "hex"],
          ),
        ],
      },
    ],
  },
  0x03: {
    title: {
      values: [
        value(
          /([\da-f]{2}-[\da-f]{2}-[\da-f]{2}-[\da-f]{2})-([\da-f]{2}-[\da-f]{2}-[\da-f]{2}-[\da-f]{2})$/,
          ["serialNumberHigh", "hex"],
          ["serialNumberLow", "hex"],
        ),
      ],
    },
    lines: [],
  },
  0x0b: {
    title: {
      values: [
        value(
          /ID=([\da-f]{4}) Rev=(\d+) Len=([\da-f]{3})/,
          ["header.id", "hex"],
          ["header.revision", "decimal"],
          ["header.length", "hex"],
        ),
      ],
    },
    lines: [],
  },
  0x0d: {
    lines: [
      { label: "ACSCap", flags: of("capability", acsWords) },
      { label: "ACSCtl", flags: of("control", acsWords) },
    ],
  },
  0x0e: {
    lines: [
      {
        label: "ARICap",
        flags: of("capability", { MFVC: "mfvcFunctionGroups", ACS: "acsFunctionGroups" }),
        values: [value(/Next Function: (\d+)/, ["capability.nextFunction", "decimal"])],
      },
      {
        label: "ARICtl",
        flags: of("control", { MFVC: "mfvcFunctionGroupsEnable", ACS: "acsFunctionGroupsEnable" }),
        values: [value(/Function Group: (\d+)/, ["control.functionGroup", "decimal"])],
      },
    ],
  },
  0x0f: {
    lines: [
      {
        label: "ATSCap",
        values: [value(/Invalidate Queue Depth: ([\da-f]{2})/, ["capability.invalidateQueueDepth", "hex"])],
      },
      {
        label: "ATSCtl",
        flags: { Enable: "control.enable" },
        values: [value(/Smallest Translation Unit: ([\da-f]{2})/, ["control.stu", "hex"])],
      },
    ],
  },
  0x10: {
    lines: [
      {
        label: "IOVCap",
        flags: of("capabilities", { Migration: "vfMigration", "10BitTagReq": "tenBitTagRequester" }),
        values: [
          value(/Interrupt Message Number: ([\da-f]{3})/, ["capabilities.migrationInterruptMessageNumber", "hex"]),
        ],
      },
      {
        label: "IOVCtl",
        flags: of("control", {
          Enable: "vfEnable",
          Migration: "vfMigrationEnable",
          Interrupt: "vfMigrationInterruptEnable",
          MSE: "vfMemorySpace",
          ARIHierarchy: "ariCapableHierarchy",
          "10BitTagReq": "tenBitTagRequesterEnable",
        }),
      },
      { label: "IOVSta", flags: of("status", { Migration: "vfMigrationStatus" }) },
      {
        label: "Initial VFs",
        values: [
          value(
            /Initial VFs: (\d+), Total VFs: (\d+), Number of VFs: (\d+)/,
            ["initialVfs", "decimal"],
            ["totalVfs", "decimal"],
            ["numVfs", "decimal"],
          ),
          value(/Function Dependency Link: ([\da-f]{2})/, ["functionDependencyLink", "hex"]),
        ],
      },
      {
        label: "VF offset",
        values: [
          value(
            /VF offset: (\d+), stride: (\d+), Device ID: ([\da-f]{4})/,
            ["firstVfOffset", "decimal"],
            ["vfStride", "decimal"],
            ["vfDeviceId", "hex"],
          ),
        ],
      },
      {
        label: "Supported Page Size",
        values: [
          value(
            /Supported Page Size: ([\da-f]{8}), System Page Size: ([\da-f]{8})/,
            ["supportedPageSizes", "hex"],
            ["systemPageSize", "hex"],
          ),
        ],
      },
      {
        label: "VF Migration",
        values: [
          value(
            /offset: ([\da-f]{8}), BIR: (\d)/,
            ["vfMigrationStateArray.offset*8", "hex"],
            ["vfMigrationStateArray.bir", "decimal"],
          ),
        ],
      },
    ],
  },
  0x13: {
    lines: [
      { label: "PRICtl", flags: { Enable: "control.enable" } },
      {
        label: "PRISta",
        flags: of("status", {
          RF: "responseFailure",
          UPRGI: "unexpectedPageRequestGroupIndex",
          Stopped: "stopped",
          PASID: "prgResponsePasidRequired",
        }),
      },
      {
        label: "Page Request Capacity",
        values: [
          value(
            /Capacity: ([\da-f]{8}), Page Request Allocation: ([\da-f]{8})/,
            ["outstandingCapacity", "hex"],
            ["outstandingAllocation", "hex"],
          ),
        ],
      },
    ],
  },
  0x1b: {
    lines: [
      {
        label: "PASIDCap",
        flags: of("capability", { Exec: "executePermission", Priv: "privilegedMode" }),
        values: [value(/Max PASID Width: ([\da-f]{2})/, ["capability.maxPasidWidth", "hex"])],
      },
      {
        label: "PASIDCtl",
        flags: of("control", {
          Enable: "enable",
          Exec: "executePermissionEnable",
          Priv: "privilegedModeEnable",
        }),
      },
    ],
  },
  0x1d: {
    lines: [
      {
        label: "DpcCap",
        flags: of("capability", {
          RPExt: "rpExtensions",
          PoisonedTLP: "poisonedTlpEgressBlocking",
          SwTrigger: "softwareTrigger",
          DL_ActiveErr: "dlActiveErrCor",
        }),
        values: [
          value(/(?:INT Msg #|IntMsgNum )(\d+)/, ["capability.interruptMessageNumber", "decimal"]),
          value(/RP PIO Log (\d+)/, ["capability.rpPioLogSize", "decimal"]),
        ],
      },
      {
        label: "DpcCtl",
        flags: of("control", {
          Cmpl: "completionControl",
          INT: "interruptEnable",
          ErrCor: "errCorEnable",
          PoisonedTLP: "poisonedTlpEgressBlockingEnable",
          DL_ActiveErr: "dlActiveErrCorEnable",
        }),
        values: [value(/Trigger:([\da-f])/, ["control.triggerEnable", "hex"])],
      },
      {
        label: "DpcSta",
        flags: of("status", { Trigger: "triggered", INT: "interrupt", RPBusy: "rpBusy" }),
        values: [
          value(/Reason:([\da-f]{2})/, ["status.triggerReason", "hex"]),
          value(/TriggerExt:([\da-f]{2})/, ["status.triggerReasonExtension", "hex"]),
          value(/RP PIO ErrPtr:([\da-f]{2})/, ["status.rpPioFirstErrorPointer", "hex"]),
        ],
      },
      { label: "Source", values: [value(/Source: ([\da-f]{4})/, ["errorSourceId", "hex"])] },
    ],
  },
  0x1e: {
    lines: [
      { label: "L1SubCap", flags: of("capability", { ...l1Words, L1_PM_Substates: "l1PmSubstates" }) },
      { label: "L1SubCtl1", flags: of("control1", l1Words) },
      { label: "L1SubCtl2" },
    ],
  },
  0x1f: {
    lines: [
      { label: "PTMCap", flags: of("capability", { Requester: "requester", Responder: "responder", Root: "root" }) },
      { label: "PTMControl", flags: of("control", { Enabled: "enable", RootSelected: "rootSelect" }) },
    ],
  },
  0x23: {
    title: {
      values: [
        value(
          /Vendor=([\da-f]{4}) ID=([\da-f]{4}) Rev=(\d+) Len=(\d+)/,
          ["header1.vendor", "hex"],
          ["header2.id", "hex"],
          ["header1.revision", "decimal"],
          ["header1.length", "decimal"],
        ),
      ],
    },
    lines: [
      {
        label: "CXLCap",
        flags: of("capability", { Cache: "cacheCapable", IO: "ioCapable", Mem: "memCapable", Viral: "viralCapable" }),
        values: [
          value(/Mem ?HW ?Init([+-])/, ["capability.memHwInit", "flag"]),
          value(/HDMCount (\d)/, ["capability.hdmCount", "decimal"]),
        ],
      },
      {
        label: "CXLCtl",
        flags: of("control", { Cache: "cacheEnable", IO: "ioEnable", Mem: "memEnable", Viral: "viralEnable" }),
      },
      { label: "CXLSta", flags: of("status", { Viral: "viralStatus" }) },
      {
        label: "CXLSta2",
        flags: of("status2", {
          ResetComplete: "cxlResetComplete",
          ResetError: "cxlResetError",
          PMComplete: "pmInitializationComplete",
        }),
      },
      { label: "CXLPortSta", flags: of("status", { PMComplete: "powerManagementInitComplete" }) },
      {
        label: "CXLPortCtl",
        flags: of("control", {
          UnmaskSBR: "unmaskSbr",
          UnmaskLinkDisable: "unmaskLinkDisable",
          AltMem: "alternateMemoryAndIdSpace",
          AltBME: "alternateBme",
          ViralEnable: "viralEnable",
        }),
      },
      { label: "FBCap", flags: of("capability", { Cache: "cacheCapable", IO: "ioCapable", Mem: "memCapable" }) },
      { label: "FBCtl", flags: of("control", { Cache: "cacheEnable", IO: "ioEnable", Mem: "memEnable" }) },
      { label: "FBSta", flags: of("status", { Cache: "cacheEnabled", IO: "ioEnabled", Mem: "memEnabled" }) },
    ],
  },
  0x2e: {
    lines: [
      { label: "DOECap", flags: of("capability", { IntSup: "interruptSupport" }) },
      { label: "DOECtl", flags: of("control", { IntEn: "interruptEnable" }) },
      {
        label: "DOESta",
        flags: of("status", {
          Busy: "busy",
          IntSta: "interruptStatus",
          Error: "error",
          ObjectReady: "dataObjectReady",
        }),
      },
    ],
  },
};
