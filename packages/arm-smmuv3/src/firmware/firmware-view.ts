import type { IortNodeOf, IortTable } from "./iort.ts";
import { ATS_SUPPORTED, SMMU_V3_FLAGS } from "./iort-layout.ts";
import { type FirmwareWarning, mapId, rootComplexOf } from "./iort-map.ts";
import { type RmrRegion, rmrRegions } from "./iort-rmr.ts";

/** An SMMU as firmware tells of it. */
export interface SmmuNode {
  /** Physical address of the registers. */
  readonly base: number;
  /** What firmware says of coherence; it overrides IDR0.COHACC. */
  readonly coherent: boolean;
  /** What firmware says of HTTU in the encoding of IDR0; undefined = the register counts (device tree). */
  readonly httu: number | undefined;
}

/** Where a requester ID goes. */
export interface StreamOfRid {
  /** Index of the SMMU. */
  readonly smmu: number;
  readonly sid: number;
}

/** What firmware tells a kernel of its SMMUs and of the PCI functions behind them: an IORT, or a device tree. */
export interface SmmuFirmwareView {
  readonly smmus: readonly SmmuNode[];
  /** The root complex does ATS. */
  readonly rootComplexAts: boolean;
  /** The kernel learns before it scans the bus that an SMMU is behind the root complex, and wants ACS. */
  readonly asksForAcs: boolean;
  /** The stream of a requester ID; undefined = no SMMU is in the way. */
  streamOf(rid: number): StreamOfRid | undefined;
  /**
   * Reserved memory of an SMMU.
   *
   * @param streams only what one of these StreamIDs uses; absent = all
   */
  reservedOf(smmu: number, streams?: readonly number[]): readonly RmrRegion[];
}

const SMMUS: ReadonlySet<string | undefined> = new Set(["smmuV2", "smmuV3"]);

function kindAt(table: IortTable, offset: number): string | undefined {
  return table.nodes.find((node) => node.offset === offset)?.kind;
}

/**
 * What an IORT tells of one PCI segment.
 *
 * Source: Linux 7.2 `iort_iommu_configure_id()`, `iort_enable_acs()`, `arm_smmu_device_acpi_probe()`.
 */
export function firmwareOfIort(table: IortTable, segment: number, warn: FirmwareWarning): SmmuFirmwareView {
  const nodes = table.nodes.filter((node): node is IortNodeOf<"smmuV3"> => node.kind === "smmuV3");
  const rootComplex = rootComplexOf(table, segment);
  return {
    smmus: nodes.map(({ baseAddress, flags }) => ({
      base: Number(baseAddress),
      coherent: (flags & SMMU_V3_FLAGS.cohaccOverride) !== 0,
      httu: (flags >>> 1) & 3,
    })),
    rootComplexAts: rootComplex !== undefined && (rootComplex.atsAttribute & ATS_SUPPORTED) !== 0,
    asksForAcs: table.nodes.some(
      (node) =>
        node.kind === "rootComplex" &&
        node.mappings.some(({ outputReference }) => SMMUS.has(kindAt(table, outputReference))),
    ),
    streamOf(rid) {
      if (rootComplex === undefined) {
        return undefined;
      }
      const mapped = mapId(table, rootComplex, rid, ["smmuV3", "smmuV2"], warn);
      const smmu = nodes.findIndex((node) => node === mapped?.node);
      return mapped === undefined || smmu < 0 ? undefined : { smmu, sid: mapped.id };
    },
    reservedOf(smmu, streams) {
      const node = nodes[smmu];
      return node === undefined ? [] : rmrRegions(table, node.offset, streams, warn);
    },
  };
}

/** A range of a device tree's `iommu-map`. */
export interface IommuMapRange {
  /** First requester ID. */
  readonly rid: number;
  /** Number of IDs. */
  readonly count: number;
  /** What the first becomes. */
  readonly sid: number;
  /** Index of the SMMU. */
  readonly smmu: number;
}

/** What a device tree says of a host bridge and its SMMUs. */
export interface DeviceTree {
  readonly smmus: readonly {
    /** `reg`: physical address of the registers. */
    readonly base: number;
    /** `dma-coherent`. */
    readonly coherent: boolean;
  }[];
  /** `ats-supported` of the host bridge. */
  readonly atsSupported: boolean;
  /** `iommu-map` of the host bridge. */
  readonly iommuMap: readonly IommuMapRange[];
}

/** What a device tree tells. Source: Linux 7.2 `of_pci_iommu_init()`, `of_map_id()`, `arm_smmu_device_dt_probe()`. */
export function firmwareOfTree(tree: DeviceTree): SmmuFirmwareView {
  return {
    smmus: tree.smmus.map(({ base, coherent }) => ({ base, coherent, httu: undefined })),
    rootComplexAts: tree.atsSupported,
    asksForAcs: false,
    streamOf(rid) {
      const range = tree.iommuMap.find((one) => rid >= one.rid && rid < one.rid + one.count);
      return range === undefined ? undefined : { smmu: range.smmu, sid: range.sid + (rid - range.rid) };
    },
    reservedOf: () => [],
  };
}
