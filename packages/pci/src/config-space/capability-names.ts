import type { CapabilityEntry } from "./capability-list.ts";

/** Standard capabilities by id, named as `lspci` names them. */
const standard: readonly (string | undefined)[] = [
  "Null",
  "Power Management",
  "AGP",
  "Vital Product Data",
  "Slot ID",
  "MSI",
  "CompactPCI hot-swap",
  "PCI-X",
  "HyperTransport",
  "Vendor Specific Information",
  "Debug port",
  "CompactPCI central resource control",
  "Hot-plug capable",
  "Subsystem",
  "AGP3",
  "Secure device",
  "Express",
  "MSI-X",
  "SATA HBA",
  "PCI Advanced Features",
  "Enhanced Allocation (EA)",
  "Flattening Portal Bridge",
];

/** Extended capabilities by id, named as `lspci` names them where it has a name. */
const extended: readonly (string | undefined)[] = [
  "Null",
  "Advanced Error Reporting",
  "Virtual Channel",
  "Device Serial Number",
  "Power Budgeting",
  "Root Complex Link",
  "Root Complex Internal Link",
  "Root Complex Event Collector Endpoint Association",
  "Multi-Function Virtual Channel",
  "Virtual Channel",
  "Root Complex Register Block Header",
  "Vendor Specific Information",
  "Configuration Access Correlation",
  "Access Control Services",
  "Alternative Routing-ID Interpretation (ARI)",
  "Address Translation Service (ATS)",
  "Single Root I/O Virtualization (SR-IOV)",
  "Multi-Root I/O Virtualization (MR-IOV)",
  "Multicast",
  "Page Request Interface (PRI)",
  "Reserved for AMD",
  "Physical Resizable BAR",
  "Dynamic Power Allocation",
  "Transaction Processing Hints",
  "Latency Tolerance Reporting",
  "Secondary PCI Express",
  "Protocol Multiplexing",
  "Process Address Space ID (PASID)",
  "LN Requester",
  "Downstream Port Containment",
  "L1 PM Substates",
  "Precision Time Measurement",
  "PCI Express over M_PHY",
  "FRS Queueing",
  "Readiness Time Reporting",
  "Designated Vendor-Specific",
  "Virtual Resizable BAR",
  "Data Link Feature",
  "Physical Layer 16.0 GT/s",
  "Lane Margining at the Receiver",
  "Hierarchy ID",
  "Native PCIe Enclosure Management",
  "Physical Layer 32.0 GT/s",
  "Alternate Protocol",
  "System Firmware Intermediary",
  "Shadow Functions",
  "Data Object Exchange",
  "Device 3",
  "Integrity & Data Encryption",
  "Physical Layer 64.0 GT/s",
  "Flit Logging",
  "Flit Performance Measurement",
  "Flit Error Injection",
  "Streamlined Virtual Channel",
  "MMIO Register Block Locator",
];

/** The name of a capability, in `lspci`'s words without the details that it adds; an unknown id is named by its number. */
export function capabilityName(entry: Pick<CapabilityEntry, "id" | "extended">): string {
  const known = entry.extended ? extended[entry.id] : standard[entry.id];
  return (
    known ?? `${entry.extended ? "Extended Capability" : "Capability"} ID 0x${entry.id.toString(16).padStart(2, "0")}`
  );
}

/**
 * The id of a capability that `lspci` names, with or without details behind the name; undefined where no capability has
 * that name.
 */
export function capabilityId(name: string, isExtended: boolean): number | undefined {
  const number = /^(?:Extended )?Capability ID 0x([\da-f]{1,4})\b/i.exec(name)?.[1];
  if (number !== undefined) {
    return Number.parseInt(number, 16);
  }
  const names = isExtended ? extended : standard;
  let best = -1;
  for (const [id, known] of names.entries()) {
    // The longest name that fits: "Root Complex Link" begins like "Root Complex Link Declaration" would.
    if (known !== undefined && name.startsWith(known) && known.length > (names[best]?.length ?? 0)) {
      best = id;
    }
  }
  return best < 0 ? undefined : best;
}
