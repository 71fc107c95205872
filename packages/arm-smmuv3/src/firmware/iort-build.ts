import { type AcpiHeader, InputError } from "@iommu-lab/core";
import { ATS_SUPPORTED, ID_MAPPING_BYTES, IORT_HEADER_BYTES, RMR_DESCRIPTOR_BYTES, RMR_FLAGS } from "./iort-layout.ts";
import type { IdMapping, IortNode, IortNodeBase, IortTable } from "./iort.ts";

/** A range of IDs and where it goes. */
export interface IdRange {
  /** First input ID. */
  readonly first: number;
  /** Last input ID. */
  readonly last: number;
  /** What the first one becomes. */
  readonly output: number;
  /** Which SMMU it goes to, by its index in the description. */
  readonly smmu: number;
}

/** What {@link buildIort} lays out. */
export interface IortDescription {
  readonly smmus: readonly {
    /** Physical address of the registers. */
    readonly base: number;
    /** Flags of the node, see `SMMU_V3_FLAGS`. */
    readonly flags: number;
  }[];
  readonly rootComplexes: readonly {
    readonly segment: number;
    readonly ats: boolean;
    readonly ranges: readonly IdRange[];
  }[];
  readonly reserved: readonly {
    /** `direct-relaxable` instead of `direct`. */
    readonly remapPermitted: boolean;
    /** StreamIDs `output … output + last - first` of one SMMU. */
    readonly ranges: readonly IdRange[];
    readonly memory: readonly { readonly base: number; readonly length: number }[];
  }[];
}

/** Where the parts of a node of each kind end. */
const SMMU_BYTES = 68;
const ROOT_COMPLEX_BYTES = 36;
const RMR_BYTES = 28;
/** Access attributes "inner and outer write-back", in bits 9:2. */
const WRITE_BACK = 5 << 2;
/** Revisions of E.d: RMR nodes need it. */
const REVISION = { table: 5, smmu: 4, rootComplex: 4, rmr: 3 } as const;

/** Lays nodes out one after the other. */
class Layout {
  readonly nodes: IortNode[] = [];
  #at = IORT_HEADER_BYTES;

  /** Header of the next node: mappings come behind `tail` bytes. */
  next(tail: number, revision: number, mappings: readonly IdMapping[]): IortNodeBase {
    const length = tail + mappings.length * ID_MAPPING_BYTES;
    const offset = this.#at;
    this.#at += length;
    return {
      offset,
      length,
      revision,
      identifier: this.nodes.length,
      mappingCount: mappings.length,
      mappingOffset: mappings.length === 0 ? 0 : tail,
      mappings,
    };
  }

  get end(): number {
    return this.#at;
  }
}

/**
 * Lays a table out: SMMUs, then root complexes, then reserved memory.
 *
 * @throws InputError for a range that names no SMMU of the description
 */
export function buildIort(description: IortDescription): IortTable {
  const layout = new Layout();
  for (const { base, flags } of description.smmus) {
    layout.nodes.push({
      kind: "smmuV3",
      ...layout.next(SMMU_BYTES, REVISION.smmu, []),
      baseAddress: BigInt(base),
      flags,
      reserved: 0,
      vatosAddress: 0n,
      model: 0,
      eventGsiv: 0,
      priGsiv: 0,
      gerrGsiv: 0,
      syncGsiv: 0,
      proximityDomain: 0,
      deviceIdMappingIndex: 0,
    });
  }
  const smmus = layout.nodes.map(({ offset }) => offset);
  for (const { segment, ats, ranges } of description.rootComplexes) {
    layout.nodes.push({
      kind: "rootComplex",
      ...layout.next(
        ROOT_COMPLEX_BYTES,
        REVISION.rootComplex,
        ranges.map((range) => mappingOf(range, smmus)),
      ),
      cacheCoherency: 1,
      hints: 0,
      memoryReserved: 0,
      memoryFlags: 3,
      atsAttribute: ats ? ATS_SUPPORTED : 0,
      pciSegment: segment,
      memorySizeLimit: 64,
      pasidCapabilities: 0,
      reserved: 0,
    });
  }
  for (const { remapPermitted, ranges, memory } of description.reserved) {
    const tail = RMR_BYTES + memory.length * RMR_DESCRIPTOR_BYTES;
    layout.nodes.push({
      kind: "rmr",
      ...layout.next(
        tail,
        REVISION.rmr,
        ranges.map((range) => mappingOf(range, smmus)),
      ),
      flags: (remapPermitted ? RMR_FLAGS.remapPermitted : 0) | WRITE_BACK,
      rmrCount: memory.length,
      rmrOffset: RMR_BYTES,
      descriptors: memory.map(({ base, length }) => ({
        baseAddress: BigInt(base),
        length: BigInt(length),
        reserved: 0,
      })),
    });
  }
  return {
    header: headerOf(layout.end),
    nodeOffset: IORT_HEADER_BYTES,
    reserved: 0,
    nodes: layout.nodes,
    warnings: [],
  };
}

function mappingOf({ first, last, output, smmu }: IdRange, smmus: readonly number[]): IdMapping {
  const outputReference = smmus[smmu];
  if (outputReference === undefined || last < first) {
    throw new InputError(`IORT: IDs ${first} to ${last} of SMMU ${smmu}: there are ${smmus.length} SMMUs`);
  }
  return { inputBase: first, idCount: last - first, outputBase: output, outputReference, flags: 0 };
}

function headerOf(length: number): AcpiHeader {
  return {
    signature: "IORT",
    length,
    revision: REVISION.table,
    checksum: 0,
    checksumValid: true,
    oemId: "IOMMUL",
    oemTableId: "IOMMULAB",
    oemRevision: 1,
    creatorId: "ILAB",
    creatorRevision: 1,
  };
}
