import { ACS_CR, ACS_DT, ACS_EC, ACS_ISOLATION, ACS_RR, ACS_SV, ACS_TB, ACS_UF } from "./acs-flags.ts";
import { type DeviceMatch, matchesDevice } from "../config-space/device-match.ts";
import { WIDE_ACS_CONTROL, WIDE_ACS_PORTS } from "../config-space/wide-acs.ts";
import type { PciDev } from "./pci-dev.ts";

const TYPE_ROOT_PORT = 4;
const TYPE_DOWNSTREAM = 6;
const TYPE_INTEGRATED = 9;
const INTEL = 0x8086;
const ZHAOXIN = 0x1d17;
const CAVIUM = 0x177d;

/** What a quirk says of a function: which of the flags asked for count, and which of them it grants. */
export interface AcsQuirkAnswer {
  /** The flags asked for, without those that do not apply. */
  readonly asked: number;
  /** The flags that the function provides. */
  readonly granted: number;
}

/** A rule by which Linux treats particular functions as isolated, or as not isolated, whatever their ACS says. */
export interface AcsQuirk {
  /** Short name. */
  readonly id: string;
  /** What it is about, in a few words. */
  readonly title: string;
  /** Which functions it is for. */
  readonly matches: readonly DeviceMatch[];
  /** Its answer for such a function; undefined = none, the next rule is asked. */
  readonly answer: (dev: PciDev, flags: number) => AcsQuirkAnswer | undefined;
  /** The kernel's function. */
  readonly source: string;
}

/** All that an endpoint without peer-to-peer between its functions can claim. */
const ENDPOINT = ACS_SV | ACS_TB | ACS_RR | ACS_CR | ACS_UF | ACS_DT;

const grants =
  (granted: number) =>
  (_dev: PciDev, asked: number): AcsQuirkAnswer => ({ asked, granted });

function onPort(types: readonly number[], granted: (dev: PciDev) => number): AcsQuirk["answer"] {
  return (dev, asked) => (isType(dev, types) ? { asked, granted: granted(dev) } : undefined);
}

function isType(dev: PciDev, types: readonly number[]): boolean {
  return dev.pcieCap !== 0 && types.includes(dev.pcieType);
}

function multifunctionEndpoint(...matches: readonly DeviceMatch[]): AcsQuirk {
  return {
    id: "multifunction-endpoint",
    title: "multifunction endpoint whose functions have no peer-to-peer",
    matches,
    answer: grants(ENDPOINT),
    source: "pci_quirk_mf_endpoint_acs()",
  };
}

function equivalentControl(source: string, ...matches: readonly DeviceMatch[]): AcsQuirk {
  return {
    id: "equivalent-control",
    title: "root port with equivalent control in hardware",
    matches,
    answer: grants(ACS_ISOLATION),
    source,
  };
}

/** Intel PCH root ports that isolate, once the platform's peer decodes are off, but have no ACS capability. */
const PCH_PORTS: readonly DeviceMatch[] = [
  {
    vendor: INTEL,
    devices: [
      [0x3b42, 0x3b51],
      [0x1c10, 0x1c1f],
      [0x1e10, 0x1e1f],
      [0x8c10, 0x8c1f],
      [0x9c10, 0x9c1b],
      [0x9c90, 0x9c9b],
      [0x1d10, 0x1d1e, 2],
      [0x8d10, 0x8d1e],
      [0x8c90, 0x8c9e, 2],
    ],
  },
];

const ZHAOXIN_PORTS: readonly DeviceMatch[] = [
  { vendor: ZHAOXIN, devices: [[0x0710, 0x071e], 0x0721, [0x0723, 0x0752]] },
];

const WANGXUN_NICS: readonly DeviceMatch[] = [
  {
    vendor: 0x8088,
    devices: [[0x0100, 0x010f], 0x1001, 0x2001, 0x5010, 0x5025, 0x5040, 0x5110, 0x5125, 0x5140],
  },
];

/** Whether the port is one of the Intel PCH root ports without an ACS capability. Source: `pci_quirk_intel_pch_acs_match()`. */
export function isPchPort(dev: PciDev): boolean {
  return isType(dev, [TYPE_ROOT_PORT]) && matchesDevice(PCH_PORTS, dev.vendor, dev.device);
}

/** Whether the port's ACS registers are 32 bits wide, control at +8. Source: `pci_quirk_intel_spt_pch_acs_match()`. */
export function hasWideAcs(dev: PciDev): boolean {
  return isType(dev, [TYPE_ROOT_PORT]) && dev.acsCap !== 0 && matchesDevice(WIDE_ACS_PORTS, dev.vendor, dev.device);
}

/**
 * The rules in the kernel's order: the first that answers decides. The same in 6.1, 6.12 and 7.2 as Debian packages them.
 *
 * Source: Linux 7.2 `pci_dev_acs_enabled[]`.
 */
export const acsQuirks: readonly AcsQuirk[] = [
  {
    id: "amd-south-bridge",
    title: "AMD south bridge function without peer-to-peer",
    matches: [
      { vendor: 0x1002, devices: [0x4385, 0x439c, 0x4383, 0x439d, 0x4384, 0x4399] },
      { vendor: 0x1022, devices: [0x780f, 0x7809] },
    ],
    answer: (dev, flags) =>
      dev.multifunction && dev.bridge === undefined && dev.platform.facts.ivrs === true
        ? { asked: flags & (ACS_RR | ACS_CR | ACS_EC | ACS_DT), granted: ACS_RR | ACS_CR }
        : undefined,
    source: "pci_quirk_amd_sb_acs()",
  },
  multifunctionEndpoint(
    { vendor: 0x1924, devices: [0x0903, 0x0923, 0x0a03] },
    {
      vendor: INTEL,
      devices: [
        0x10c6,
        0x10db,
        0x10dd,
        0x10e1,
        0x10f1,
        [0x10f7, 0x10fc],
        0x1507,
        0x1514,
        0x151c,
        0x1529,
        0x152a,
        0x154d,
        0x154f,
        0x1551,
        0x1558,
        0x1509,
        0x1516,
        0x1527,
        [0x150e, 0x1511],
        0x10c9,
        0x150a,
        0x150d,
        0x1518,
        0x1526,
        [0x10e6, 0x10e8],
        0x10a7,
        0x10a9,
        0x10d6,
        [0x1521, 0x1524],
        [0x105e, 0x1060],
        0x10d9,
        0x15b7,
        0x15b8,
      ],
    },
  ),
  {
    id: "intel-integrated",
    title: "Intel endpoint integrated into the root complex",
    matches: [{ vendor: INTEL }],
    answer: onPort([TYPE_INTEGRATED], () => ACS_ISOLATION),
    source: "pci_quirk_rciep_acs()",
  },
  equivalentControl(
    "pci_quirk_qcom_rp_acs()",
    { vendor: 0x17cb, devices: [0x0400, 0x0401, 0x0115, 0x0111, 0x0120] },
    { vendor: 0x1dbf, devices: [0x0401] },
  ),
  {
    id: "intel-pch",
    title: "Intel PCH root port without an ACS capability",
    matches: PCH_PORTS,
    answer: onPort([TYPE_ROOT_PORT], (dev) => (dev.acsByQuirk ? ACS_ISOLATION : 0)),
    source: "pci_quirk_intel_pch_acs()",
  },
  {
    id: "intel-pch-wide",
    title: "Intel PCH root port with 32-bit ACS registers",
    matches: WIDE_ACS_PORTS,
    answer: (dev, flags) =>
      hasWideAcs(dev)
        ? {
            asked: flags & (dev.read32(dev.acsCap + 4) | ACS_EC),
            granted: dev.read32(dev.acsCap + WIDE_ACS_CONTROL),
          }
        : undefined,
    source: "pci_quirk_intel_spt_pch_acs()",
  },
  multifunctionEndpoint({ vendor: 0x19a2, devices: [0x0710] }, { vendor: 0x10df, devices: [0x0720] }),
  {
    id: "thunderx",
    title: "Cavium ThunderX root port with equivalent control in hardware",
    matches: [{ vendor: CAVIUM, devices: [[0xa000, 0xa7ff], 0xaf84, 0xb884] }],
    answer: onPort([TYPE_ROOT_PORT], () => ACS_ISOLATION),
    source: "pci_quirk_cavium_acs()",
  },
  multifunctionEndpoint({ vendor: CAVIUM, devices: [0xa026, 0xa059, 0xa060] }),
  equivalentControl(
    "pci_quirk_xgene_acs()",
    { vendor: 0x10e8, devices: [0xe004] },
    { vendor: 0x1def, devices: [[0xe005, 0xe00c]] },
  ),
  multifunctionEndpoint({ vendor: 0x14e4, devices: [0x16d7, [0x1750, 0x1752], [0x1760, 0x1763]] }),
  equivalentControl("pci_quirk_brcm_acs()", { vendor: 0x14e4, devices: [0xd714] }),
  equivalentControl("pci_quirk_loongson_acs()", {
    vendor: 0x0014,
    devices: [
      [0x3c09, 0x3c29, 0x10],
      [0x7a09, 0x7a69, 0x10],
    ],
  }),
  {
    id: "annapurna",
    title: "Annapurna root port with equivalent control in hardware",
    matches: [{ vendor: 0x1c36, devices: [0x0031] }],
    answer: onPort([TYPE_ROOT_PORT], () => ACS_ISOLATION),
    source: "pci_quirk_al_acs()",
  },
  multifunctionEndpoint({ vendor: ZHAOXIN, devices: [0x3038, 0x3104, 0x9083] }),
  equivalentControl("pci_quirk_nxp_rp_acs()", {
    vendor: 0x1957,
    devices: [
      [0x8d80, 0x8d83],
      [0x8d88, 0x8d8b],
      [0x8d90, 0x8d93],
      [0x8d98, 0x8d9b],
      [0x8da0, 0x8da1],
      [0x8da8, 0x8da9],
      [0x8db0, 0x8db1],
      [0x8db8, 0x8db9],
    ],
  }),
  {
    id: "zhaoxin-port",
    title: "Zhaoxin port",
    matches: [{ vendor: ZHAOXIN }],
    answer: onPort([TYPE_ROOT_PORT, TYPE_DOWNSTREAM], (dev) =>
      matchesDevice(ZHAOXIN_PORTS, dev.vendor, dev.device) ? ACS_ISOLATION : 0,
    ),
    source: "pci_quirk_zhaoxin_pcie_ports_acs()",
  },
  {
    id: "wangxun-nic",
    title: "Wangxun network function",
    matches: [{ vendor: 0x8088 }],
    answer: (dev, asked) => ({
      asked,
      granted: matchesDevice(WANGXUN_NICS, dev.vendor, dev.device) ? ACS_ISOLATION : 0,
    }),
    source: "pci_quirk_wangxun_nic_acs()",
  },
];

/** What the rules say of a function, and which one said it; undefined = none knows it. */
export function askAcsQuirks(
  dev: PciDev,
  flags: number,
): { readonly quirk: AcsQuirk; readonly answer: AcsQuirkAnswer } | undefined {
  for (const quirk of acsQuirks) {
    const answer = matchesDevice(quirk.matches, dev.vendor, dev.device) ? quirk.answer(dev, flags) : undefined;
    if (answer !== undefined) {
      return { quirk, answer };
    }
  }
  return undefined;
}
