import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { amdviLayouts } from "@iommu-lab/amd-vi";
import { smmuv3Layouts } from "@iommu-lab/arm-smmuv3";
import { type LayoutCodec, bytesOfHex } from "@iommu-lab/core";
import { cxlLayouts } from "@iommu-lab/cxl";
import { vtdLayouts } from "@iommu-lab/intel-vtd";
import {
  describedConfig,
  describedFunctions,
  endpointConfig,
  explainGroups,
  formatLspciDump,
  inspectFunction,
  parseLspciDump,
  parseLspciVerbose,
  parseMachineJson,
  parseSysfsConfig,
  pciLayouts,
  rootPortConfig,
} from "@iommu-lab/pci";
import { dataFolder } from "../data-folder.ts";

/** Something that reads what a user gives. */
export interface Importer {
  /** Named when it fails. */
  readonly name: string;
  /** Reads an input as far as the product does; throws nothing but an InputError. */
  readonly read: (bytes: Uint8Array) => unknown;
  /** Valid inputs, from which others are made. */
  readonly seeds: readonly Uint8Array[];
}

const encoder = new TextEncoder();
/** Larger seeds are cut: what a parser gets wrong, it gets wrong in a small input as well. */
const MOST = 6000;

/** An importer of text. */
function ofText(name: string, read: (text: string) => unknown, texts: readonly string[]): Importer {
  const decoder = new TextDecoder();
  return {
    name,
    read: (bytes) => read(decoder.decode(bytes)),
    seeds: texts.map((text) => encoder.encode(text.slice(0, MOST))),
  };
}

/** An importer of one layout: what it decodes must come back. */
/** Layouts of firmware tables, of which real ones are at hand. */
const tables: ReadonlySet<string> = new Set(["cedt", "dmar", "iort", "ivrs"]);

function ofCodec(codec: LayoutCodec): Importer {
  return {
    name: `decode ${codec.kind}`,
    read: (bytes) => codec.encode(codec.decode(bytes, "f").fields),
    seeds: [bytesOfHex(codec.example), ...(tables.has(codec.kind) ? files("acpi", codec.kind) : [])],
  };
}

/** A description of a machine with its first devices alone, so that it is short and still JSON. */
function firstDevices(bytes: Uint8Array): string {
  const whole = JSON.parse(new TextDecoder().decode(bytes)) as { readonly devices: readonly unknown[] };
  return JSON.stringify({ ...whole, devices: whole.devices.slice(0, 5) });
}

/** Files of the data folder, none where it is absent. */
function files(...names: readonly string[]): readonly Uint8Array[] {
  if (dataFolder === undefined) {
    return [];
  }
  const folder = path.join(dataFolder, ...names);
  return readdirSync(folder)
    .toSorted()
    .map((name) => new Uint8Array(readFileSync(path.join(folder, name))));
}

const nic = endpointConfig({
  vendor: 0x8086,
  device: 0x1592,
  class: 0x020000,
  ats: { queueDepth: 32 },
  pasid: { width: 20 },
  pri: {},
  sriov: { totalVfs: 8, vfDevice: 0x1889 },
  cxl: { cache: true, mem: true },
});
const port = rootPortConfig({ secondary: 1, subordinate: 1 });
const decoder = new TextDecoder();

const dump = formatLspciDump([
  { bdf: "0000:00:01.0", header: "PCI bridge: Somebody", bytes: port.slice(0, 256) },
  { bdf: "0000:01:00.0", bytes: nic.slice(0, 0x400) },
]);

const verbose = `0000:00:01.0 PCI bridge [0604]: Somebody [8086:460d] (rev 02) (prog-if 00 [Normal decode])
\tControl: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx+
\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0
\tMemory behind bridge: 83000000-840fffff [size=17M] [32-bit]
\tCapabilities: [40] Express (v2) Root Port (Slot+), MSI 00
\t\tDevCap:\tMaxPayload 256 bytes, PhantFunc 0
\t\t\tExtTag- RBE+
\tCapabilities: [220 v1] Access Control Services
\t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
\t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-
\tKernel driver in use: pcieport

0000:01:00.0 0200: 8086:1592
\tRegion 0: Memory at 622c000000 (64-bit, non-prefetchable) [size=16M]
\tIOMMU group: 5
\tCapabilities: [100 v1] Address Translation Service (ATS)
\t\tATSCap:\tInvalidate Queue Depth: 00
\t\tATSCtl:\tEnable-, Smallest Translation Unit: 00
`;

const machine = JSON.stringify({
  machine: "m",
  devices: [
    {
      bdf: "0000:00:01.0",
      class: "0604",
      capabilities: [{ offset: "40", name: "Express (v2) Root Port (Slot+)" }],
      bridge: { primary: "00", secondary: "01", subordinate: "01" },
      pcie: { type: "Root Port", capVersion: 2, slot: true },
      acs: { capability: ["SrcValid"], control: [] },
    },
    { bdf: "0000:01:00.0", vendor: "8086", device: "1592", capabilities: [], ats: { enable: true } },
  ],
});

/**
 * Every importer. A new one is added here: by its name, what it does with an input, and valid inputs; a layout codec by one
 * more list in the last line.
 */
export const importers: readonly Importer[] = [
  ofText(
    "lspci -xxxx",
    (text) => {
      const { functions } = parseLspciDump(text, "f");
      for (const { bdf, bytes } of functions) {
        inspectFunction(bdf, bytes);
      }
      return [explainGroups(functions), formatLspciDump(functions)];
    },
    [dump, ...files("config-space").map((bytes) => decoder.decode(bytes))],
  ),
  ofText("lspci -vvv", (text) => explainGroups(describedFunctions(parseLspciVerbose(text, "f").machine)), [verbose]),
  ofText(
    "machine JSON",
    (text) => {
      const description = parseMachineJson(text, "f");
      return [explainGroups(describedFunctions(description)), description.devices.map(describedConfig)];
    },
    [machine, ...files("machines").map(firstDevices)],
  ),
  {
    name: "sysfs config",
    read: (bytes): unknown => {
      const { bdf, bytes: config } = parseSysfsConfig("/sys/bus/pci/devices/0000:01:00.0/config", bytes);
      return [inspectFunction(bdf, config), explainGroups([{ bdf, bytes: config }])];
    },
    seeds: [nic, port, nic.slice(0, 256), nic.slice(0, 64)],
  },
  ...[...pciLayouts, ...cxlLayouts, ...smmuv3Layouts, ...vtdLayouts, ...amdviLayouts].map(ofCodec),
];
