import type { Platform, Plugin } from "@iommu-lab/core";
import { InputError, createPlatform, linux } from "@iommu-lab/core";
import { cxl } from "@iommu-lab/cxl";
import { PCI_BUS, formatRid, pci } from "@iommu-lab/pci";
import type { TableReader } from "./machine-reader.ts";
import { MachineReader } from "./machine-reader.ts";
import type { Kernel } from "./phases.ts";
import type { Recording } from "./recording.ts";
import type { TableWords } from "./state.ts";
import { topologyOf } from "./topology.ts";

/** The model of a recorded machine. */
export interface Machine {
  readonly platform: Platform;
  readonly kernel: Kernel;
  /** Addresses of all functions it has. */
  readonly addresses: ReadonlySet<string>;
  /** Reads the IOMMU's structures of a requester ID from registers and memory. */
  tables(rid: number): TableWords;
  /** The kernel's name of a requester ID. */
  nameOf(rid: number): string;
}

/** The IOMMU of a recording: its plugin, where its registers are, how its structures are found. */
interface RecordedIommu {
  readonly plugin: Plugin;
  readonly base: number;
  readonly read: TableReader;
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
  const iommu = iommuOf(recording);
  const platform = createPlatform({
    kernel: linux("7.2", { cmdline: recording.kernelArguments }),
    plugins: [pci(topology), cxl(), iommu.plugin],
  });
  const reader = new MachineReader(platform, iommu.base);
  return {
    platform,
    kernel: { core: platform.iommu, bus: platform.host.get(PCI_BUS) },
    addresses: new Set([...topology.ports, ...topology.endpoints].map(({ rid }) => nameOf(rid))),
    tables: (rid) => iommu.read(reader, rid),
    nameOf,
  };
}

function iommuOf(recording: Recording): RecordedIommu {
  throw new InputError(`no IOMMU of ${recording.vendor} can be built`, { file: recording.file });
}
