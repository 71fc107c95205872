import { type CapabilityLayout, type RegisterReader, bit, field, register } from "./register-layout.ts";

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

const isMsi64 = (config: RegisterReader, at: number): boolean => (config.read16(at + 2) & 0x80) !== 0;
const isMsiMaskable = (config: RegisterReader, at: number): boolean => (config.read16(at + 2) & 0x100) !== 0;

/** Power Management (PCIe 6.0 §7.5.2). */
export const PM_LAYOUT: CapabilityLayout = {
  registers: [
    register("capabilities", 2, 2, [
      field("version", 2, 0, "RO"),
      bit("pmeClock", 3, "RO"),
      bit("immediateReadiness", 4, "RO"),
      bit("deviceSpecificInitialization", 5, "RO"),
      field("auxCurrent", 8, 6, "RO"),
      bit("d1Support", 9, "RO"),
      bit("d2Support", 10, "RO"),
      field("pmeSupport", 15, 11, "RO"),
    ]),
    register("control", 4, 2, [
      field("powerState", 1, 0, "RW"),
      bit("noSoftReset", 3, "RO"),
      bit("pmeEnable", 8, "RW", { survives: "conventional" }),
      field("dataSelect", 12, 9, "RO"),
      field("dataScale", 14, 13, "RO"),
      bit("pmeStatus", 15, "RW1C", { survives: "conventional" }),
    ]),
  ],
};

/** MSI (PCIe 6.0 §7.7.1): four forms, by the 64-bit and the masking bit. */
export const MSI_LAYOUT: CapabilityLayout = {
  registers: [
    register("control", 2, 2, [
      bit("enable", 0, "RW"),
      field("multipleCapable", 3, 1, "RO"),
      field("multipleEnable", 6, 4, "RW"),
      bit("address64", 7, "RO"),
      bit("perVectorMasking", 8, "RO"),
      bit("extendedDataCapable", 9, "RO"),
      bit("extendedDataEnable", 10, "RW", { needs: { offset: 3, bit: 1 } }),
    ]),
    register("address", 4, 4, [field("address", 31, 2, "RW")]),
    register("addressUpper", 8, 4, [field("address", 31, 0, "RW")], isMsi64),
    register("data", 8, 2, [field("data", 15, 0, "RW")], (config, at) => !isMsi64(config, at)),
    register("data", 0xc, 2, [field("data", 15, 0, "RW")], isMsi64),
    register(
      "mask",
      0xc,
      4,
      [field("mask", 31, 0, "RW")],
      (config, at) => isMsiMaskable(config, at) && !isMsi64(config, at),
    ),
    register(
      "mask",
      0x10,
      4,
      [field("mask", 31, 0, "RW")],
      (config, at) => isMsiMaskable(config, at) && isMsi64(config, at),
    ),
    register(
      "pending",
      0x10,
      4,
      [field("pending", 31, 0, "RO", { reset: 0 })],
      (config, at) => isMsiMaskable(config, at) && !isMsi64(config, at),
    ),
    register(
      "pending",
      0x14,
      4,
      [field("pending", 31, 0, "RO", { reset: 0 })],
      (config, at) => isMsiMaskable(config, at) && isMsi64(config, at),
    ),
  ],
};

/** MSI-X (PCIe 6.0 §7.7.2). The table itself is in memory space. */
export const MSIX_LAYOUT: CapabilityLayout = {
  registers: [
    register("control", 2, 2, [
      field("tableSize", 10, 0, "RO"),
      bit("functionMask", 14, "RW"),
      bit("enable", 15, "RW"),
    ]),
    register("table", 4, 4, [field("bir", 2, 0, "RO"), field("offset", 31, 3, "RO")]),
    register("pendingBitArray", 8, 4, [field("bir", 2, 0, "RO"), field("offset", 31, 3, "RO")]),
  ],
};

/** PCI Advanced Features: FLR for conventional PCI functions (PCI AF ECN). */
export const AF_LAYOUT: CapabilityLayout = {
  registers: [
    register("length", 2, 1, [field("length", 7, 0, "RO")]),
    register("capabilities", 3, 1, [bit("transactionsPending", 0, "RO"), bit("functionLevelReset", 1, "RO")]),
    register("control", 4, 1, [bit("initiateFlr", 0, "W1", { needs: { offset: 3, bit: 1 } })]),
    register("status", 5, 1, [bit("transactionsPending", 0, "RO", { reset: 0 })]),
  ],
};
