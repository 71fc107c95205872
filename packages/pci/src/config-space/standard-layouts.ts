import {
  type CapabilityLayout,
  type RegisterCondition,
  type RegisterLayout,
  bit,
  field,
  register,
  whole,
} from "./register-layout.ts";

/** Standard capability ids that the model uses (PCI Code and ID Assignment, Linux `PCI_CAP_ID_*`). */
export const CAP_ID_PM: number = 0x01;
/** MSI. */
export const CAP_ID_MSI: number = 0x05;
/** PCI-X. */
export const CAP_ID_PCIX: number = 0x07;
/** PCI Express. */
export const CAP_ID_EXP: number = 0x10;
/** MSI-X. */
export const CAP_ID_MSIX: number = 0x11;
/** PCI Advanced Features. */
export const CAP_ID_AF: number = 0x13;

/** Device/Port Type of the PCI Express capability (PCIe 6.0 §7.5.3.2). */
export const PCIE_TYPE = {
  /** PCI Express endpoint. */
  endpoint: 0,
  /** Legacy endpoint. */
  legacyEndpoint: 1,
  /** Root port of a root complex. */
  rootPort: 4,
  /** Upper port of a switch. */
  upstreamPort: 5,
  /** Lower port of a switch. */
  downstreamPort: 6,
  /** PCI Express to PCI bridge. */
  pcieToPciBridge: 7,
  /** PCI to PCI Express bridge. */
  pciToPcieBridge: 8,
  /** Root complex integrated endpoint (RCiEP): no link, no port above it. */
  integratedEndpoint: 9,
  /** Root complex event collector. */
  eventCollector: 10,
} as const;

/** Power Management (PCIe 6.0 §7.5.2). */
export const PM_LAYOUT: CapabilityLayout = {
  registers: [
    register("capabilities", 2, 2, [
      field("version", 2, 0, "RO", "version of the PCI Power Management specification"),
      bit("pmeClock", 3, "RO", "PME# needs the PCI clock"),
      bit("immediateReadiness", 4, "RO", "ready right after a change to D0"),
      bit("deviceSpecificInitialization", 5, "RO", "needs initialisation of its own after D0"),
      field("auxCurrent", 8, 6, "RO", "auxiliary current, coded"),
      bit("d1Support", 9, "RO", "has state D1"),
      bit("d2Support", 10, "RO", "has state D2"),
      field("pmeSupport", 15, 11, "RO", "states in which PME can be sent: D0, D1, D2, D3hot, D3cold"),
    ]),
    register("control", 4, 2, [
      field("powerState", 1, 0, "RW", "0 D0, 1 D1, 2 D2, 3 D3hot"),
      bit("noSoftReset", 3, "RO", "the way from D3hot to D0 is no reset"),
      bit("pmeEnable", 8, "RWS", "PME may be sent"),
      field("dataSelect", 12, 9, "RO", "what the data register shows"),
      field("dataScale", 14, 13, "RO", "unit of the data register"),
      bit("pmeStatus", 15, "RW1CS", "PME was asserted"),
    ]),
    register("bridgeExtensions", 6, 1, [
      bit("b2b3Support", 6, "RO", "secondary bus clock stops in D3hot"),
      bit("busPowerClockControl", 7, "RO", "power and clock of the secondary bus follow the state"),
    ]),
    whole("data", 7, 1, "RO", "power consumed or dissipated, by data select"),
  ],
};

const is64: RegisterCondition = (config, at) => (config.read16(at + 2) & 0x80) !== 0;
const is32: RegisterCondition = (config, at) => !is64(config, at);
const isMaskable: RegisterCondition = (config, at) => (config.read16(at + 2) & 0x100) !== 0;
const both =
  (...conditions: readonly RegisterCondition[]): RegisterCondition =>
  (config, at) =>
    conditions.every((one) => one(config, at));

/** Data, mask and pending of one of the two forms of MSI, from offset `at` on. */
function msiTail(at: number, form: RegisterCondition): RegisterLayout[] {
  return [
    register(
      "data",
      at,
      4,
      [
        field("data", 15, 0, "RW", "lower half of what is written"),
        field("extended", 31, 16, "RW", "upper half, where capable of it", { needs: { offset: 3, bit: 1 } }),
      ],
      form,
    ),
    whole("mask", at + 4, 4, "RW", "vectors that are masked", both(isMaskable, form)),
    whole("pending", at + 8, 4, "RO", "vectors that are due", both(isMaskable, form), { reset: 0 }),
  ];
}

/** MSI (PCIe 6.0 §7.7.1): four forms, by the 64-bit and the masking bit. */
export const MSI_LAYOUT: CapabilityLayout = {
  registers: [
    register("control", 2, 2, [
      bit("enable", 0, "RW", "MSI is used instead of INTx"),
      field("multipleCapable", 3, 1, "RO", "2^n vectors asked for"),
      field("multipleEnable", 6, 4, "RW", "2^n vectors granted"),
      bit("address64", 7, "RO", "has the upper address register"),
      bit("perVectorMasking", 8, "RO", "has mask and pending registers"),
      bit("extendedDataCapable", 9, "RO", "can send 32 bits of data"),
      bit("extendedDataEnable", 10, "RW", "sends 32 bits of data", { needs: { offset: 3, bit: 1 } }),
    ]),
    register("address", 4, 4, [field("address", 31, 2, "RW", "where the write goes, bits 31:2")]),
    register("addressUpper", 8, 4, [field("address", 31, 0, "RW", "where the write goes, bits 63:32")], is64),
    ...msiTail(8, is32),
    ...msiTail(0xc, is64),
  ],
};

/** MSI-X (PCIe 6.0 §7.7.2). The table itself is in memory space. */
export const MSIX_LAYOUT: CapabilityLayout = {
  registers: [
    register("control", 2, 2, [
      field("tableSize", 10, 0, "RO", "entries in the table, less 1"),
      bit("functionMask", 14, "RW", "all vectors are masked"),
      bit("enable", 15, "RW", "MSI-X is used"),
    ]),
    register("table", 4, 4, [
      field("bir", 2, 0, "RO", "base address register of the table"),
      field("offset", 31, 3, "RO", "offset in it, in 8 bytes"),
    ]),
    register("pendingBitArray", 8, 4, [
      field("bir", 2, 0, "RO", "base address register of the pending bits"),
      field("offset", 31, 3, "RO", "offset in it, in 8 bytes"),
    ]),
  ],
};

/** PCI Advanced Features: FLR for conventional PCI functions (PCI AF ECN). */
export const AF_LAYOUT: CapabilityLayout = {
  registers: [
    whole("length", 2, 1, "RO", "length of the capability: 6"),
    register("capabilities", 3, 1, [
      bit("transactionsPending", 0, "RO", "has the transactions pending bit"),
      bit("functionLevelReset", 1, "RO", "has FLR"),
    ]),
    register("control", 4, 1, [bit("initiateFlr", 0, "W1", "starts an FLR", { needs: { offset: 3, bit: 1 } })]),
    register("status", 5, 1, [
      bit("transactionsPending", 0, "RO", "requests of the function are outstanding", { reset: 0 }),
    ]),
  ],
};
