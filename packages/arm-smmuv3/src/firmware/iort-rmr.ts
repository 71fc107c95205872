import { PROT_MMIO, PROT_PRIV, PROT_READ, PROT_WRITE, type ReservedRegion } from "@iommu-lab/core";
import { RMR_FLAGS } from "./iort-layout.ts";
import { type FirmwareWarning, nameOf } from "./iort-map.ts";
import type { IortNodeOf, IortTable, RmrDescriptor } from "./iort.ts";

/** A reserved memory range and the streams that use it. */
export interface RmrRegion extends ReservedRegion {
  readonly type: "direct" | "direct-relaxable";
  /** StreamIDs, in the order of the mappings. */
  readonly streams: readonly number[];
}

/** First revision of the table whose RMR nodes count (DEN 0049 E.d). */
const RMR_REVISION = 5;
/** Access attributes 0 to 3 are device memory. */
const LAST_DEVICE_ATTRIBUTE = 3;
const KIB_64 = 0x10000n;
const PAGE = 0x1000n;
/** More StreamIDs than this cannot be listed: a range of a 32-bit table may name 2^32. */
const MOST_STREAMS = 2 ** 16;

/**
 * The reserved memory ranges of an SMMU.
 *
 * Source: Linux 7.2 `iort_find_rmrs()`, `iort_node_get_rmr_info()`, `iort_get_rmrs()`, `iort_rmr_alloc()`.
 *
 * @param smmuOffset offset of the SMMU's node
 * @param ofStreams only ranges whose node names one of these StreamIDs; absent = all
 */
export function rmrRegions(
  table: IortTable,
  smmuOffset: number,
  ofStreams?: readonly number[],
  warn: FirmwareWarning = () => {},
): readonly RmrRegion[] {
  if (table.header.revision < RMR_REVISION) {
    return [];
  }
  return table.nodes.flatMap((node) => {
    if (node.kind !== "rmr") {
      return [];
    }
    if (node.mappings.length === 0) {
      warn(`${nameOf(node)}: no ID mapping, skipped`);
      return [];
    }
    const streams = streamsOf(node, smmuOffset, ofStreams, warn);
    return streams.length === 0 ? [] : regionsOf(node, streams, warn);
  });
}

function streamsOf(
  node: IortNodeOf<"rmr">,
  smmuOffset: number,
  ofStreams: readonly number[] | undefined,
  warn: FirmwareWarning,
): readonly number[] {
  const streams: number[] = [];
  for (const { outputReference, outputBase, idCount } of node.mappings) {
    const has = ofStreams?.some((sid) => sid >= outputBase && sid <= outputBase + idCount) ?? true;
    if (outputReference !== smmuOffset || !has) {
      continue;
    }
    if (streams.length + idCount >= MOST_STREAMS) {
      warn(`${nameOf(node)}: ${idCount + 1} StreamIDs are too many, the mapping is skipped`);
      continue;
    }
    for (let sid = outputBase; sid <= outputBase + idCount; sid += 1) {
      streams.push(sid);
    }
  }
  return streams;
}

function regionsOf(node: IortNodeOf<"rmr">, streams: readonly number[], warn: FirmwareWarning): readonly RmrRegion[] {
  if (node.rmrOffset === 0) {
    return [];
  }
  warnOfOverlaps(node, warn);
  const { flags } = node;
  const attributes = (flags >>> 2) & 0xff;
  const prot =
    PROT_READ |
    PROT_WRITE |
    ((flags & RMR_FLAGS.accessPrivilege) === 0 ? 0 : PROT_PRIV) |
    (attributes <= LAST_DEVICE_ATTRIBUTE ? PROT_MMIO : 0);
  const type = (flags & RMR_FLAGS.remapPermitted) === 0 ? "direct" : "direct-relaxable";
  return node.descriptors.map((descriptor) => {
    if (descriptor.baseAddress % KIB_64 !== 0n || descriptor.length % KIB_64 !== 0n) {
      warn(`${nameOf(node)}: the range at 0x${descriptor.baseAddress.toString(16)} is not aligned to 64 KiB`);
    }
    // Whole pages: the base rounded down, the end rounded up.
    const first = descriptor.baseAddress / PAGE;
    const end = (descriptor.baseAddress + descriptor.length + PAGE - 1n) / PAGE;
    return { page: Number(first), count: Number(end - first), prot, type, streams };
  });
}

function warnOfOverlaps({ descriptors, ...node }: IortNodeOf<"rmr">, warn: FirmwareWarning): void {
  const name = `IORT node at 0x${node.offset.toString(16)} (rmr)`;
  const sorted = descriptors.toSorted((one, other) => (one.baseAddress < other.baseAddress ? -1 : 1));
  let last: RmrDescriptor | undefined;
  for (const descriptor of sorted) {
    const start = `0x${descriptor.baseAddress.toString(16)}`;
    if (descriptor.length === 0n) {
      warn(`${name}: the range at ${start} has length 0`);
      continue;
    }
    if (last !== undefined && descriptor.baseAddress < last.baseAddress + last.length) {
      warn(`${name}: the range at ${start} overlaps another one`);
    }
    last = descriptor;
  }
}
