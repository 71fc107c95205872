import { type CapabilityRules, of, value } from "./verbose-rule.ts";

/** What the text says of PCI Express. */
export const express: CapabilityRules = {
  title: {
    flags: { Slot: "flags.slot" },
    values: [
      value(/\(v(\d+)\)/, ["flags.version", "decimal"]),
      value(/, MSI ([\da-f]{2})\b/, ["flags.interruptMessageNumber", "hex"]),
      value(/, IntMsgNum (\d+)/, ["flags.interruptMessageNumber", "decimal"]),
    ],
  },
  lines: [
    {
      label: "DevCap",
      flags: of("deviceCapabilities", {
        ExtTag: "extendedTag",
        RBE: "roleBasedErrorReporting",
        FLReset: "functionLevelReset",
        "TEE-IO": "teeIo",
      }),
      values: [value(/MaxPayload (\d+) bytes/, ["deviceCapabilities.maxPayloadSupported", "payload"])],
    },
    {
      label: "DevCtl",
      flags: of("deviceControl", {
        CorrErr: "correctableErrorReporting",
        NonFatalErr: "nonFatalErrorReporting",
        FatalErr: "fatalErrorReporting",
        UnsupReq: "unsupportedRequestReporting",
        RlxdOrd: "relaxedOrdering",
        ExtTag: "extendedTag",
        PhantFunc: "phantomFunctions",
        AuxPwr: "auxPowerPm",
        NoSnoop: "noSnoop",
        BrConfRtry: "bridgeConfigRetry",
      }),
      values: [
        value(/MaxPayload (\d+) bytes/, ["deviceControl.maxPayloadSize", "payload"]),
        value(/MaxReadReq (\d+) bytes/, ["deviceControl.maxReadRequestSize", "payload"]),
      ],
    },
    {
      label: "DevSta",
      flags: of("deviceStatus", {
        CorrErr: "correctableErrorDetected",
        NonFatalErr: "nonFatalErrorDetected",
        FatalErr: "fatalErrorDetected",
        UnsupReq: "unsupportedRequestDetected",
        AuxPwr: "auxPowerDetected",
        TransPend: "transactionsPending",
      }),
    },
    {
      label: "LnkCap",
      flags: of("linkCapabilities", {
        ClockPM: "clockPowerManagement",
        Surprise: "surpriseDownReporting",
        LLActRep: "dataLinkActiveReporting",
        BwNot: "bandwidthNotification",
        ASPMOptComp: "aspmOptionality",
      }),
      values: [
        value(/Port #(\d+)/, ["linkCapabilities.portNumber", "decimal"]),
        value(/Speed ([\d.]+)GT\/s/, ["linkCapabilities.maxLinkSpeed", "speed"]),
        value(/Width x(\d+)/, ["linkCapabilities.maxLinkWidth", "decimal"]),
      ],
    },
    {
      label: "LnkCtl",
      flags: of("linkControl", {
        Disabled: "linkDisable",
        CommClk: "commonClock",
        ExtSynch: "extendedSynch",
        ClockPM: "clockPowerManagement",
        AutWidDis: "autonomousWidthDisable",
        BWInt: "bandwidthManagementInterrupt",
        AutBWInt: "autonomousBandwidthInterrupt",
      }),
    },
    {
      label: "LnkSta",
      flags: of("linkStatus", {
        Train: "linkTraining",
        SlotClk: "slotClock",
        DLActive: "dataLinkActive",
        BWMgmt: "bandwidthManagementStatus",
        ABWMgmt: "autonomousBandwidthStatus",
      }),
      values: [
        value(/Speed ([\d.]+)GT\/s/, ["linkStatus.linkSpeed", "speed"]),
        value(/Width x(\d+)/, ["linkStatus.linkWidth", "decimal"]),
      ],
    },
    {
      label: "SltCap",
      flags: of("slotCapabilities", {
        AttnBtn: "attentionButton",
        PwrCtrl: "powerController",
        MRL: "mrlSensor",
        AttnInd: "attentionIndicator",
        PwrInd: "powerIndicator",
        HotPlug: "hotPlugCapable",
        Surprise: "hotPlugSurprise",
        Interlock: "electromechanicalInterlock",
        NoCompl: "noCommandCompleted",
      }),
      values: [value(/Slot #(\d+)/, ["slotCapabilities.slotNumber", "decimal"])],
    },
    {
      label: "SltCtl",
      flags: of("slotControl", {
        AttnBtn: "attentionButtonEnable",
        PwrFlt: "powerFaultEnable",
        MRL: "mrlSensorEnable",
        PresDet: "presenceDetectEnable",
        CmdCplt: "commandCompletedEnable",
        HPIrq: "hotPlugInterruptEnable",
        LinkChg: "dataLinkStateChangedEnable",
        Power: "powerController",
      }),
    },
    {
      label: "SltSta",
      flags: of("slotStatus", {
        AttnBtn: "attentionButtonPressed",
        PowerFlt: "powerFaultDetected",
        MRL: "mrlSensorState",
        CmdCplt: "commandCompleted",
        PresDet: "presenceDetect",
        Interlock: "interlockStatus",
      }),
    },
    {
      label: "Changed",
      flags: of("slotStatus", {
        MRL: "mrlSensorChanged",
        PresDet: "presenceDetectChanged",
        LinkState: "dataLinkStateChanged",
      }),
    },
    { label: "RootCap", flags: { CRSVisible: "rootCapabilities.rrsSoftwareVisibility" } },
    {
      label: "RootCtl",
      flags: of("rootControl", {
        ErrCorrectable: "systemErrorOnCorrectable",
        "ErrNon-Fatal": "systemErrorOnNonFatal",
        ErrFatal: "systemErrorOnFatal",
        PMEIntEna: "pmeInterrupt",
        CRSVisible: "rrsSoftwareVisibility",
      }),
    },
    {
      label: "RootSta",
      flags: of("rootStatus", { PMEStatus: "pmeStatus", PMEPending: "pmePending" }),
      values: [value(/PME ReqID ([\da-f]{4})/, ["rootStatus.pmeRequesterId", "hex"])],
    },
    {
      label: "DevCap2",
      flags: of("deviceCapabilities2", {
        TimeoutDis: "completionTimeoutDisable",
        NROPrPrP: "noRoPrPassing",
        LTR: "ltr",
        "10BitTagComp": "tenBitTagCompleter",
        "10BitTagReq": "tenBitTagRequester",
        ExtFmt: "extendedFmt",
        EETLPPrefix: "endEndTlpPrefix",
        EmergencyPowerReductionInit: "emergencyPowerReductionInit",
        FRS: "frs",
        ARIFwd: "ariForwarding",
      }),
      values: [value(/MaxEETLPPrefixes (\d)/, ["deviceCapabilities2.maxEndEndTlpPrefixes", "ofFour"])],
    },
    {
      label: "AtomicOpsCap",
      flags: of("deviceCapabilities2", {
        Routing: "atomicOpRouting",
        "32bit": "atomicOpCompleter32",
        "64bit": "atomicOpCompleter64",
        "128bitCAS": "casCompleter128",
      }),
    },
    {
      label: "DevCtl2",
      flags: of("deviceControl2", {
        TimeoutDis: "completionTimeoutDisable",
        LTR: "ltr",
        "10BitTagReq": "tenBitTagRequester",
        ARIFwd: "ariForwarding",
        IDOReq: "idoRequest",
        IDOCompl: "idoCompletion",
        EETLPPrefixBlk: "endEndTlpPrefixBlocking",
      }),
    },
    {
      label: "AtomicOpsCtl",
      flags: of("deviceControl2", { ReqEn: "atomicOpRequester", EgressBlck: "atomicOpEgressBlocking" }),
    },
    {
      label: "LnkCtl2",
      flags: of("linkControl2", {
        EnterCompliance: "enterCompliance",
        SpeedDis: "autonomousSpeedDisable",
        EnterModifiedCompliance: "enterModifiedCompliance",
        ComplianceSOS: "complianceSos",
      }),
      values: [
        // 2.5 GT/s is what the text says of 0 as well.
        value(/Target Link Speed: (5|8|16|32|64)GT\/s/, ["linkControl2.targetLinkSpeed", "speed"]),
      ],
    },
    { label: "LnkSta2", flags: of("linkStatus2", { EqualizationComplete: "equalizationComplete" }) },
    { label: "LnkCap2" },
  ],
};
