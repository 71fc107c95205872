import { express } from "./verbose-express.ts";
import { extendedRules } from "./verbose-extended.ts";
import { type CapabilityRules, type LineRule, of, value } from "./verbose-rule.ts";

const standard: Readonly<Record<number, CapabilityRules>> = {
  0x01: {
    title: { values: [value(/version (\d)/, ["capabilities.version", "decimal"])] },
    lines: [
      {
        label: "Flags",
        flags: of("capabilities", {
          PMEClk: "pmeClock",
          DSI: "deviceSpecificInitialization",
          D1: "d1Support",
          D2: "d2Support",
        }),
      },
      {
        label: "Status",
        flags: of("control", { NoSoftRst: "noSoftReset", "PME-Enable": "pmeEnable", PME: "pmeStatus" }),
        values: [value(/: D(\d)\b/, ["control.powerState", "decimal"])],
      },
    ],
  },
  0x05: {
    title: {
      flags: of("control", { Enable: "enable", Maskable: "perVectorMasking", "64bit": "address64" }),
      values: [value(/Count=(\d+)\/(\d+)/, ["control.multipleEnable", "log2"], ["control.multipleCapable", "log2"])],
    },
    lines: [
      {
        label: "Address",
        values: [
          value(/Address: ([\da-f]{8})([\da-f]{8})\b/, ["addressUpper.address", "hex"], ["address*4", "hex"]),
          value(/Address: ([\da-f]{8})\b/, ["address*4", "hex"]),
          value(/Data: ([\da-f]{4})/, ["data.data", "hex"]),
        ],
      },
      {
        label: "Masking",
        values: [value(/Masking: ([\da-f]{8})  Pending: ([\da-f]{8})/, ["mask", "hex"], ["pending", "hex"])],
      },
    ],
  },
  0x08: { title: { flags: of("command", { Enable: "enable", Fixed: "fixed" }) }, lines: [] },
  0x09: { title: { values: [value(/Len=([\da-f]{2})\b/, ["length", "hex"])] }, lines: [] },
  0x0d: {
    title: {
      values: [
        value(
          /^Subsystem: (?:Device )?([\da-f]{4}):([\da-f]{4})$/,
          ["subsystemVendorId", "hex"],
          ["subsystemId", "hex"],
        ),
        value(/\[([\da-f]{4}):([\da-f]{4})\]$/, ["subsystemVendorId", "hex"], ["subsystemId", "hex"]),
        value(/ Device ([\da-f]{4})$/, ["subsystemId", "hex"]),
      ],
    },
    lines: [],
  },
  0x10: express,
  0x11: {
    title: {
      flags: of("control", { Enable: "enable", Masked: "functionMask" }),
      values: [value(/Count=(\d+)/, ["control.tableSize+1", "decimal"])],
    },
    lines: [
      {
        label: "Vector table",
        values: [value(/BAR=(\d) offset=([\da-f]{8})/, ["table.bir", "decimal"], ["table.offset*8", "hex"])],
      },
      {
        label: "PBA",
        values: [
          value(
            /BAR=(\d) offset=([\da-f]{8})/,
            ["pendingBitArray.bir", "decimal"],
            ["pendingBitArray.offset*8", "hex"],
          ),
        ],
      },
    ],
  },
  0x13: {
    lines: [
      { label: "AFCap", flags: of("capabilities", { TP: "transactionsPending", FLR: "functionLevelReset" }) },
      { label: "AFStatus", flags: of("status", { TP: "transactionsPending" }) },
    ],
  },
};

/** What the text of a function says before its capabilities. */
export const headerRules: readonly LineRule[] = [
  {
    label: "Control",
    flags: of("command", {
      "I/O": "ioSpace",
      Mem: "memorySpace",
      BusMaster: "busMaster",
      ParErr: "parityErrorResponse",
      SERR: "serrEnable",
      DisINTx: "interruptDisable",
    }),
  },
  {
    label: "Status",
    flags: of("status", {
      Cap: "capabilitiesList",
      "66MHz": "capable66",
      FastB2B: "fastBackToBack",
      ParErr: "masterDataParityError",
      ">TAbort": "signaledTargetAbort",
      "<TAbort": "receivedTargetAbort",
      "<MAbort": "receivedMasterAbort",
      ">SERR": "signaledSystemError",
      "<PERR": "detectedParityError",
      INTx: "interruptStatus",
    }),
  },
  { label: "Latency" },
  { label: "Interrupt", values: [value(/pin ([A-D])\b/, ["interruptPin", "letter"])] },
  {
    label: "Bus",
    values: [
      value(
        /primary=([\da-f]{2}), secondary=([\da-f]{2}), subordinate=([\da-f]{2})/,
        ["primaryBus", "hex"],
        ["secondaryBus", "hex"],
        ["subordinateBus", "hex"],
      ),
      value(/sec-latency=(\d+)/, ["secondaryLatencyTimer", "decimal"]),
    ],
  },
  {
    label: "Secondary status",
    flags: of("secondaryStatus", {
      "66MHz": "capable66",
      FastB2B: "fastBackToBack",
      ParErr: "masterDataParityError",
      ">TAbort": "signaledTargetAbort",
      "<TAbort": "receivedTargetAbort",
      "<MAbort": "receivedMasterAbort",
      "<SERR": "receivedSystemError",
      "<PERR": "detectedParityError",
    }),
  },
  {
    label: "BridgeCtl",
    flags: of("bridgeControl", {
      Parity: "parityErrorResponse",
      SERR: "serrEnable",
      NoISA: "isaEnable",
      VGA: "vgaEnable",
      VGA16: "vga16BitDecode",
      ">Reset": "secondaryBusReset",
    }),
  },
];

/** What the text of a capability says; undefined where no more than its name is taken. */
export function rulesOf(id: number, isExtended: boolean): CapabilityRules | undefined {
  return isExtended ? extendedRules[id] : standard[id];
}
