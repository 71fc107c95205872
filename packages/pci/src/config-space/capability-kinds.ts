import {
  CXL_DVSEC_DEVICE,
  CXL_DVSEC_DEVICE_GPF,
  CXL_DVSEC_FLEX_BUS,
  CXL_DVSEC_FUNCTION_MAP,
  CXL_DVSEC_PORT,
  CXL_DVSEC_PORT_GPF,
  CXL_DVSEC_REGISTER_LOCATOR,
  DVSEC_VENDOR_CXL,
} from "./dvsec-layouts.ts";
import { EXT_CAP_ID_DVSEC } from "./extended-layouts.ts";
import { PCIE_TYPE } from "./standard-layouts.ts";

/** One kind of capability that can be decoded and encoded by itself. */
export interface CapabilityKind {
  /** Name on the command line. */
  readonly kind: string;
  /** Capability id. */
  readonly id: number;
  /** Whether it is an extended capability. */
  readonly extended: boolean;
  /** What it is called. */
  readonly title: string;
  /** Where it is specified. */
  readonly source: string;
  /** Version that `encode` puts into the header of an extended capability. */
  readonly version: number;
  /** DVSEC id of the CXL consortium. */
  readonly cxl?: number;
  /** Length that `encode` gives a capability which says its own length. */
  readonly length?: number;
  /** Header type of a function that has it. */
  readonly headerType?: 0 | 1;
  /** Device/Port Type of a function that has it. */
  readonly portType?: number;
  /** A valid one, in hexadecimal; absent: all zero but for the header. */
  readonly example?: string;
}

type Row = readonly [kind: string, id: number, title: string, source: string, more?: Partial<CapabilityKind>];

const standard: readonly Row[] = [
  ["pm-cap", 0x01, "Power Management", "PCIe 6.0 §7.5.2", { example: "01 00 03 c8 08 00 00 00" }],
  ["agp-cap", 0x02, "AGP", "AGP 3.0 §7"],
  ["vpd-cap", 0x03, "Vital Product Data", "PCIe 6.0 §7.9.18"],
  ["slot-id-cap", 0x04, "Slot Identification", "PCI-to-PCI Bridge 1.2 §13", { headerType: 1 }],
  [
    "msi-cap",
    0x05,
    "MSI",
    "PCIe 6.0 §7.7.1",
    { example: "05 00 81 01 00 00 e0 fe 00 00 00 00 21 40 00 00 00 00 00 00 00 00 00 00" },
  ],
  ["pcix-cap", 0x07, "PCI-X", "PCI-X 2.0 §7.2"],
  ["pcix-bridge-cap", 0x07, "PCI-X of a bridge", "PCI-X 2.0 §8.6.2", { headerType: 1 }],
  [
    "hypertransport-cap",
    0x08,
    "HyperTransport",
    "HyperTransport 3.10 §7",
    { example: "08 00 03 a8 00 00 e0 fe 00 00 00 00" },
  ],
  ["vendor-cap", 0x09, "Vendor Specific Information", "PCIe 6.0 §7.9.4", { example: "09 00 05 01 02" }],
  ["debug-port-cap", 0x0a, "Debug port", "EHCI 1.0 appendix C", { example: "0a 00 a0 20" }],
  [
    "subsystem-cap",
    0x0d,
    "Subsystem",
    "PCI-to-PCI Bridge 1.2 §3.2.5.13",
    { headerType: 1, example: "0d 00 00 00 86 80 00 00" },
  ],
  ["secure-device-cap", 0x0f, "Secure device (AMD IOMMU)", "AMD IOMMU 3.10 §3.3"],
  [
    "pcie-cap",
    0x10,
    "PCI Express",
    "PCIe 6.0 §7.5.3",
    { example: `10 00 02 00 00 80 00 10 10 28 00 00${" 00".repeat(0x28)}` },
  ],
  ["msix-cap", 0x11, "MSI-X", "PCIe 6.0 §7.7.2", { example: "11 00 1f 80 03 00 00 00 03 20 00 00" }],
  ["sata-cap", 0x12, "SATA HBA", "AHCI 1.3 §2.4", { example: "12 00 10 00 48 00 00 00" }],
  ["af-cap", 0x13, "PCI Advanced Features", "PCI AF ECN", { example: "13 00 06 03 00 00" }],
  ["ea-cap", 0x14, "Enhanced Allocation", "PCIe 6.0 §7.8.5"],
  ["ea-bridge-cap", 0x14, "Enhanced Allocation of a bridge", "PCIe 6.0 §7.8.5", { headerType: 1 }],
  ["fpb-cap", 0x15, "Flattening Portal Bridge", "PCIe 6.0 §7.8.10", { headerType: 1 }],
];

const extended: readonly Row[] = [
  ["aer-cap", 0x01, "Advanced Error Reporting", "PCIe 6.0 §7.8.4", { version: 2 }],
  [
    "aer-root-cap",
    0x01,
    "Advanced Error Reporting of a root port or event collector",
    "PCIe 6.0 §7.8.4",
    { version: 2, headerType: 1, portType: PCIE_TYPE.rootPort },
  ],
  ["vc-cap", 0x02, "Virtual Channel", "PCIe 6.0 §7.9.1"],
  ["dsn-cap", 0x03, "Device Serial Number", "PCIe 6.0 §7.9.3"],
  ["power-budgeting-cap", 0x04, "Power Budgeting", "PCIe 6.0 §7.8.1"],
  ["rc-link-cap", 0x05, "Root Complex Link Declaration", "PCIe 6.0 §7.9.8"],
  ["rc-internal-link-cap", 0x06, "Root Complex Internal Link Control", "PCIe 6.0 §7.9.9"],
  [
    "rcec-cap",
    0x07,
    "Root Complex Event Collector Endpoint Association",
    "PCIe 6.0 §7.9.10",
    { version: 2, portType: PCIE_TYPE.eventCollector },
  ],
  ["mfvc-cap", 0x08, "Multi-Function Virtual Channel", "PCIe 6.0 §7.9.2"],
  ["rcrb-cap", 0x0a, "Root Complex Register Block Header", "PCIe 6.0 §7.9.7"],
  [
    "vsec-cap",
    0x0b,
    "Vendor-Specific Extended Capability",
    "PCIe 6.0 §7.9.5",
    { length: 12, example: "0b 00 01 00 01 00 c0 00 78 56 34 12" },
  ],
  ["acs-cap", 0x0d, "Access Control Services", "PCIe 6.0 §7.7.11", { example: "0d 00 01 00 5f 00 1d 00" }],
  ["ari-cap", 0x0e, "Alternative Routing-ID Interpretation", "PCIe 6.0 §7.8.8", { example: "0e 00 01 00 00 01 00 00" }],
  ["ats-cap", 0x0f, "Address Translation Services", "PCIe 6.0 §10.5.1", { example: "0f 00 01 00 10 00 00 80" }],
  ["sriov-cap", 0x10, "Single Root I/O Virtualization", "PCIe 6.0 §9.3.3"],
  ["multicast-cap", 0x12, "Multicast", "PCIe 6.0 §7.9.11"],
  [
    "pri-cap",
    0x13,
    "Page Request Interface",
    "PCIe 6.0 §10.5.2",
    { example: "13 00 01 14 01 00 00 80 20 00 00 00 20 00 00 00" },
  ],
  ["rebar-cap", 0x15, "Resizable BAR", "PCIe 6.0 §7.8.6"],
  ["dpa-cap", 0x16, "Dynamic Power Allocation", "PCIe 6.0 §7.9.12"],
  ["tph-cap", 0x17, "TLP Processing Hints", "PCIe 6.0 §7.9.13"],
  ["ltr-cap", 0x18, "Latency Tolerance Reporting", "PCIe 6.0 §7.8.2"],
  ["secondary-pcie-cap", 0x19, "Secondary PCI Express", "PCIe 6.0 §7.7.3"],
  ["pasid-cap", 0x1b, "Process Address Space ID", "PCIe 6.0 §7.8.9", { example: "1b 00 01 12 06 14 01 00" }],
  ["dpc-cap", 0x1d, "Downstream Port Containment", "PCIe 6.0 §7.9.14", { headerType: 1 }],
  ["l1ss-cap", 0x1e, "L1 PM Substates", "PCIe 6.0 §7.8.3"],
  ["ptm-cap", 0x1f, "Precision Time Measurement", "PCIe 6.0 §7.9.15"],
  ["frs-cap", 0x21, "FRS Queueing", "PCIe 6.0 §7.8.11"],
  ["readiness-cap", 0x22, "Readiness Time Reporting", "PCIe 6.0 §7.9.16"],
  [
    "dvsec-cap",
    EXT_CAP_ID_DVSEC,
    "Designated Vendor-Specific, of any vendor",
    "PCIe 6.0 §7.9.6",
    { length: 12, example: "23 00 01 00 86 80 c1 00 02 00 00 00" },
  ],
  ["vf-rebar-cap", 0x24, "VF Resizable BAR", "PCIe 6.0 §7.8.7"],
  ["dlf-cap", 0x25, "Data Link Feature", "PCIe 6.0 §7.7.4"],
  ["pl16-cap", 0x26, "Physical Layer 16.0 GT/s", "PCIe 6.0 §7.7.5"],
  ["lane-margining-cap", 0x27, "Lane Margining at the Receiver", "PCIe 6.0 §7.7.8"],
  ["npem-cap", 0x29, "Native PCIe Enclosure Management", "PCIe 6.0 §7.9.19"],
  ["pl32-cap", 0x2a, "Physical Layer 32.0 GT/s", "PCIe 6.0 §7.7.6"],
  ["doe-cap", 0x2e, "Data Object Exchange", "PCIe 6.0 §7.9.24"],
  ["dev3-cap", 0x2f, "Device 3", "PCIe 6.0 §7.7.9"],
  [
    "ide-cap",
    0x30,
    "Integrity and Data Encryption",
    "PCIe 6.0 §7.9.26",
    { example: `30 00 01 00 42 00 00 01 00 00 00 00${" 00".repeat(20)}` },
  ],
  ["pl64-cap", 0x31, "Physical Layer 64.0 GT/s", "PCIe 6.0 §7.7.7"],
];

const cxl: readonly (readonly [string, number, string, string, number, string?])[] = [
  [
    "cxl-dvsec",
    CXL_DVSEC_DEVICE,
    "PCIe DVSEC for CXL devices",
    "CXL 3.1 §8.1.3",
    0x3c,
    `23 00 01 00 98 1e c2 03 00 00 d7 00 07 00 00 00${" 00".repeat(0x2c)}`,
  ],
  ["cxl-function-map-dvsec", CXL_DVSEC_FUNCTION_MAP, "Non-CXL function map", "CXL 3.1 §8.1.4", 0x2c],
  [
    "cxl-port-dvsec",
    CXL_DVSEC_PORT,
    "CXL extensions for ports",
    "CXL 3.1 §8.1.5",
    0x28,
    `23 00 01 00 98 1e 80 02 03 00 00 00 01 00 00 00${" 00".repeat(0x18)}`,
  ],
  ["cxl-port-gpf-dvsec", CXL_DVSEC_PORT_GPF, "Global Persistent Flush of a port", "CXL 3.1 §8.1.6", 0x10],
  ["cxl-device-gpf-dvsec", CXL_DVSEC_DEVICE_GPF, "Global Persistent Flush of a device", "CXL 3.1 §8.1.7", 0x10],
  ["cxl-flex-bus-dvsec", CXL_DVSEC_FLEX_BUS, "Flex Bus port", "CXL 3.1 §8.2.1.3", 0x20],
  [
    "cxl-register-locator-dvsec",
    CXL_DVSEC_REGISTER_LOCATOR,
    "Register locator",
    "CXL 3.1 §8.1.9",
    0x1c,
    "23 00 01 00 98 1e c0 01 08 00 00 00 00 01 00 00 00 00 00 00 00 03 01 00 00 00 00 00",
  ],
];

function kindOf(row: Row, isExtended: boolean): CapabilityKind {
  const [kind, id, title, source, more] = row;
  return { kind, id, title, source, extended: isExtended, version: isExtended ? 1 : 0, ...more };
}

/** Every capability whose registers the model knows. */
export const capabilityKinds: readonly CapabilityKind[] = [
  ...standard.map((row) => kindOf(row, false)),
  ...extended.map((row) => kindOf(row, true)),
  ...cxl.map(([kind, id, title, source, length, example]) =>
    kindOf(
      [kind, EXT_CAP_ID_DVSEC, title, source, { cxl: id, length, ...(example === undefined ? {} : { example }) }],
      true,
    ),
  ),
];

/** The vendor of the DVSECs in {@link capabilityKinds}. */
export const CXL_VENDOR: number = DVSEC_VENDOR_CXL;
