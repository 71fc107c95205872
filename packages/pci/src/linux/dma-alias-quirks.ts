import { type DeviceMatch, matchesDevice } from "../config-space/device-match.ts";
import type { BridgeAlias, PciDev } from "./pci-dev.ts";

const TYPE_PCIE_TO_PCI = 7;
const CLASS_OTHER_BRIDGE = 0x0680;
const INTEL = 0x8086;

/**
 * A rule by which Linux knows that particular functions use other requester IDs than their own, or that a bridge shows
 * in requester IDs otherwise than its kind says.
 */
export interface DmaAliasQuirk {
  /** Short name. */
  readonly id: string;
  /** What it is about, in a few words. */
  readonly title: string;
  /** Which functions it is for. */
  readonly matches: readonly DeviceMatch[];
  /** Only functions with this base class and subclass. */
  readonly class?: number;
  /** Only these kernels; absent = all. */
  readonly kernels?: readonly string[];
  /** When it runs: before the function is added to the bus, or after, when its memory can be reached. */
  readonly when: "header" | "final";
  /** Other devfns of its bus that the function uses. */
  readonly devfns?: (dev: PciDev) => readonly number[];
  /** How it shows as a bridge; undefined = as its kind says. */
  readonly bridge?: (dev: PciDev) => BridgeAlias | undefined;
  /** The kernel's function. */
  readonly source: string;
}

/** The devfn of another function of the same slot, unless it is that function. */
const functionOfSlot =
  (fn: number) =>
  (dev: PciDev): readonly number[] =>
    (dev.rid & 7) === fn ? [] : [(dev.rid & 0xf8) | fn];

function switchtecProxies(dev: PciDev): readonly number[] {
  return dev.platform.facts.switchtecProxies?.get(dev.name) ?? [];
}

const FIFTH_GENERATION = [0x5000, 0x5100, 0x5200, 0x5300, 0x5400, 0x5500];

/** Switchtec switches: five families, each with its own numbering; see the kernel's list. */
const SWITCHTEC: DeviceMatch = {
  vendor: 0x11f8,
  devices: [
    [0x8531, 0x8536],
    [0x8541, 0x8546],
    [0x8551, 0x8556],
    [0x8561, 0x8566],
    [0x8571, 0x8576],
    ...[0x4000, 0x4100, 0x4200, ...FIFTH_GENERATION].flatMap((base) =>
      familyOf(base, [0, 0x84, 0x68, 0x52, 0x36, 0x28]),
    ),
    ...[0x4300, 0x4400, 0x4500].flatMap((base) => familyOf(base, [0x52, 0x36, 0x28])),
  ],
};

function familyOf(base: number, sizes: readonly number[]): readonly number[] {
  return sizes.map((size) => base + size);
}

/**
 * The rules, in the kernel's order.
 *
 * Source: Linux 7.2 drivers/pci/quirks.c, its `DECLARE_PCI_FIXUP_HEADER` and `_FINAL` lines.
 */
export const dmaAliasQuirks: readonly DmaAliasQuirk[] = [
  {
    id: "function-0",
    title: "DMA with the requester ID of function 0",
    matches: [
      { vendor: 0x1180, devices: [0xe832, 0xe476] },
      { vendor: 0x6766, devices: [0x3d40, 0x3d41] },
    ],
    when: "header",
    devfns: functionOfSlot(0),
    source: "quirk_dma_func0_alias()",
  },
  {
    id: "function-1",
    title: "DMA with the requester ID of function 1, which may not exist",
    matches: [
      {
        vendor: 0x1b4b,
        devices: [
          0x9120, 0x9123, 0x9125, 0x9128, 0x9130, 0x9170, 0x9172, 0x917a, 0x9182, 0x9183, 0x91a0, 0x9215, 0x9220,
          0x9230, 0x9235,
        ],
      },
      { vendor: 0x1103, devices: [0x0642, 0x0645] },
      { vendor: 0x197b, devices: [0x2392] },
      { vendor: 0x1c28, devices: [0x0122] },
    ],
    when: "header",
    devfns: functionOfSlot(1),
    source: "quirk_dma_func1_alias()",
  },
  {
    id: "adaptec",
    title: "DMA by a private function at 01.0",
    matches: [{ vendor: 0x9005, devices: [0x0285] }],
    when: "header",
    devfns: ({ subsystemVendor, subsystemDevice }) =>
      subsystemVendor === 0x9005 && (subsystemDevice === 0x02bb || subsystemDevice === 0x02bc) ? [0x08] : [],
    source: "quirk_fixed_dma_alias()",
  },
  {
    id: "hidden-pcie-bridge",
    title: "PCIe-to-PCI bridge without a PCI Express capability",
    matches: [
      { vendor: 0x1b21, devices: [0x1080] },
      { vendor: 0x10e3, devices: [0x8113] },
      { vendor: 0x1283, devices: [0x8892, 0x8893] },
      { vendor: INTEL, devices: [0x244e] },
    ],
    when: "header",
    bridge: ({ bridge: above, headerType, pcieCap }) =>
      above !== undefined &&
      headerType === 1 &&
      pcieCap === 0 &&
      above.pcieCap !== 0 &&
      above.pcieType !== TYPE_PCIE_TO_PCI
        ? "hidden-pcie"
        : undefined,
    source: "quirk_use_pcie_bridge_dma_alias()",
  },
  {
    id: "mic-x200",
    title: "non-transparent bridge that forwards other requester IDs",
    matches: [{ vendor: INTEL, devices: [0x2260, 0x2264] }],
    when: "header",
    devfns: () => [0x80, 0x88, 0x93],
    source: "quirk_mic_x200_dma_alias()",
  },
  {
    id: "vca",
    title: "Visual Compute Accelerator: functions 0 to 4 of every slot",
    matches: [
      {
        vendor: INTEL,
        devices: [
          [0x2954, 0x2956],
          [0x2958, 0x295a],
        ],
      },
    ],
    when: "header",
    devfns: () => Array.from({ length: 32 * 5 }, (_, index) => (Math.floor(index / 5) << 3) | (index % 5)),
    source: "quirk_pex_vca_alias()",
  },
  {
    id: "vulcan-root",
    title: "bridge below which the IOMMU sits",
    matches: [{ vendor: 0x14e4, devices: [0x9000, 0x9084] }],
    when: "header",
    bridge: () => "translation-root",
    source: "quirk_bridge_cavm_thrx2_pcie_root()",
  },
  {
    id: "ast1150",
    title: "PCIe-to-PCI bridge that forwards requester IDs",
    matches: [{ vendor: 0x1a03, devices: [0x1150] }],
    kernels: ["linux-7.2"],
    when: "header",
    bridge: () => "none",
    source: "quirk_aspeed_pci_bridge_no_alias()",
  },
  {
    id: "plx-ntb",
    title: "non-transparent bridge: any devfn of the bus",
    matches: [{ vendor: 0x10b5, devices: [0x87b0, 0x87b1] }],
    when: "header",
    devfns: () => Array.from({ length: 256 }, (_, devfn) => devfn),
    source: "quirk_plx_ntb_dma_alias()",
  },
  {
    id: "switchtec-ntb",
    title: "non-transparent bridge: the proxy IDs in its registers",
    matches: [SWITCHTEC, { vendor: 0x1055, devices: [[0x1001, 0x1006]] }],
    class: CLASS_OTHER_BRIDGE,
    when: "final",
    devfns: switchtecProxies,
    source: "quirk_switchtec_ntb_dma_alias()",
  },
  {
    id: "switchtec-ntb-1008",
    title: "non-transparent bridge: the proxy IDs in its registers",
    matches: [{ vendor: 0x1055, devices: [0x1008] }],
    class: CLASS_OTHER_BRIDGE,
    kernels: ["linux-6.12"],
    when: "final",
    devfns: switchtecProxies,
    source: "quirk_switchtec_ntb_dma_alias() of Linux 6.12",
  },
];

/** The rules for a function at one moment of its life. */
function dmaAliasQuirksFor(dev: PciDev, when: DmaAliasQuirk["when"]): readonly DmaAliasQuirk[] {
  return dmaAliasQuirks.filter(
    (quirk) =>
      quirk.when === when &&
      matchesDevice(quirk.matches, dev.vendor, dev.device) &&
      (quirk.class === undefined || quirk.class === dev.class >>> 8) &&
      (quirk.kernels === undefined || quirk.kernels.includes(dev.platform.profile.id)),
  );
}

/**
 * Runs the rules of one moment: the function then knows its other requester IDs.
 *
 * Source: Linux 7.2 `pci_add_dma_alias()`, `pci_fixup_device()`.
 */
export function applyDmaAliasQuirks(dev: PciDev, when: DmaAliasQuirk["when"]): void {
  for (const quirk of dmaAliasQuirksFor(dev, when)) {
    const devfns = quirk.devfns?.(dev) ?? [];
    if (devfns.length > 0) {
      dev.dmaAliases = [...new Set([...dev.dmaAliases, ...devfns])].toSorted((a, b) => a - b);
    }
    dev.bridgeAlias = quirk.bridge?.(dev) ?? dev.bridgeAlias;
  }
}
