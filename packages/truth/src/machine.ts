import { amdvi } from "@iommu-lab/amd-vi";
import { smmuv3 } from "@iommu-lab/arm-smmuv3";
import type { Platform, Plugin } from "@iommu-lab/core";
import { InputError, createPlatform, linux } from "@iommu-lab/core";
import { cxl } from "@iommu-lab/cxl";
import { vtd } from "@iommu-lab/intel-vtd";
import type { TopologyDescription } from "@iommu-lab/pci";
import { PCI_BUS, formatRid, pci } from "@iommu-lab/pci";
import type { ComparedRegister, TableReader } from "./machine-reader.ts";
import {
  AMD_VI_REGISTERS,
  MachineReader,
  SMMUV3_REGISTERS,
  VTD_REGISTERS,
  readAmdVi,
  readSmmuv3,
  readVtd,
} from "./machine-reader.ts";
import type { Kernel } from "./plan.ts";
import { type Recording, kernelVersion } from "./recording.ts";
import type { TableWords } from "./state.ts";
import { directRegions } from "./direct-regions.ts";
import { topologyOf } from "./topology.ts";

/** The model of a recorded machine. */
export interface Machine {
  readonly platform: Platform;
  readonly kernel: Kernel;
  /** Reads the IOMMU's structures of a requester ID from registers and memory. */
  tables(rid: number): TableWords;
  /** The IOMMU's registers that are compared, masked. */
  registers(): readonly (readonly [name: string, mask: bigint, value: bigint])[];
  /** The kernel's name of a requester ID. */
  nameOf(rid: number): string;
}

/** The IOMMU of a recording: its plugin, where its registers are, how its structures are found. */
interface RecordedIommu {
  readonly plugin: Plugin;
  readonly base: number;
  readonly read: TableReader;
  readonly registers: readonly ComparedRegister[];
}

function nameOf(rid: number): string {
  return `0000:${formatRid(rid)}`;
}

/**
 * Builds the machine of a recording: functions from the dump, the IOMMU with the recorded feature words, the recorded
 * kernel with its command line. It is not booted.
 *
 * @throws InputError for a dump or feature words that the model does not take
 */
export function buildMachine(recording: Recording, dump: { readonly text: string; readonly file: string }): Machine {
  const topology = topologyOf(dump.text, dump.file);
  const iommu = iommuOf(recording, topology);
  // The x86 machines hot-plug PCI by ACPI.
  const nativeHotplug = recording.vendor === "arm";
  const platform = createPlatform({
    kernel: linux(kernelVersion(recording.kernel), { cmdline: recording.kernelArguments }),
    plugins: [pci(topology, { nativeHotplug }), cxl(), iommu.plugin],
  });
  const reader = new MachineReader(platform, iommu.base);
  return {
    platform,
    kernel: {
      core: platform.iommu,
      bus: platform.host.get(PCI_BUS),
      functions: new Set([...topology.ports, ...topology.endpoints].map(({ rid }) => nameOf(rid))),
      deviceAt: (address) => platform.iommu.deviceNamed(address),
    },
    tables: (rid) => iommu.read(reader, rid),
    registers: () => iommu.registers.map(({ name, offset, mask }) => [name, mask, reader.register(offset) & mask]),
    nameOf,
  };
}

function iommuOf(recording: Recording, topology: TopologyDescription): RecordedIommu {
  const builders = { intel: vtdOf, amd: amdViOf, arm: smmuv3Of };
  return builders[recording.vendor](recording, topology);
}

const VTD_BASE = 0xfed90000;

/** ECAP.SMTS (bit 43) tells which of the two modes the unit has. Source: VT-d 5.10 §11.4.3. */
function vtdOf(recording: Recording, topology: TopologyDescription): RecordedIommu {
  const [cap] = registerOf(recording, "cap");
  const [ecap] = registerOf(recording, "ecap");
  const mode = ((ecap >> 43n) & 1n) === 1n ? "scalable" : "legacy";
  const rmrr = directRegions(recording, topology);
  const plugin = vtd({ mode, cap, ecap, base: VTD_BASE, rmrr });
  return { plugin, base: VTD_BASE, read: readVtd, registers: VTD_REGISTERS };
}

const SMMUV3_BASE = 0x09050000;

/** The ID registers were read as IDR0 to IDR5. The emulator's device tree says of ATS only what was added to it. */
function smmuv3Of(recording: Recording): RecordedIommu {
  const [idr0, idr1 = 0n, , idr3 = 0n, , idr5 = 0n] = registerOf(recording, "idr");
  const idr = { idr0: Number(idr0), idr1: Number(idr1), idr3: Number(idr3), idr5: Number(idr5) };
  return {
    plugin: smmuv3({
      idr,
      instances: [{ base: SMMUV3_BASE }],
      firmware: "device-tree",
      rootComplexAts: recording.deviceTreeAdded.has("ats-supported"),
    }),
    base: SMMUV3_BASE,
    read: readSmmuv3,
    registers: SMMUV3_REGISTERS,
  };
}

const AMD_VI_BASE = 0xfed80000;

/**
 * The EFR register may differ from the firmware table's copy, which counts and which sysfs shows. IotlbSup (bit 24) and
 * NpCache (bit 26) are in the header of the unit's capability. Source: AMD IOMMU specification §3.2.1, §5.2.2.1.
 */
function amdViOf(recording: Recording): RecordedIommu {
  const [efr] = registerOf(recording, "ext_features");
  const attributes = recording.phases[0]?.state?.iommus.get("ivhd0");
  const capability = Number.parseInt(attributes?.get("amd-iommu/cap") ?? "", 16);
  const features = /^[0-9a-f]+/u.exec(attributes?.get("amd-iommu/features") ?? "")?.[0];
  if (Number.isNaN(capability) || features === undefined) {
    throw new InputError("phase 0: sysfs of ivhd0 has no amd-iommu/cap and features", { file: recording.file });
  }
  const plugin = amdvi({
    efr,
    ivhdEfr: BigInt(`0x${features}`),
    iotlbSup: (capability & (1 << 24)) !== 0,
    npCache: (capability & (1 << 26)) !== 0,
    base: AMD_VI_BASE,
  });
  return { plugin, base: AMD_VI_BASE, read: readAmdVi, registers: AMD_VI_REGISTERS };
}

/** The words of a register as it was read first. @throws InputError */
function registerOf(recording: Recording, name: string): readonly [bigint, ...bigint[]] {
  const [first, ...rest] = recording.phases[0]?.state?.registers.get(name) ?? [];
  if (first === undefined) {
    throw new InputError(`phase 0: no register ${name} was read`, { file: recording.file });
  }
  return [first, ...rest];
}
