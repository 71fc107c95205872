import { InputError } from "@iommu-lab/core";
import type { TopologyDescription } from "@iommu-lab/pci";
import { formatRid, parseRid } from "@iommu-lab/pci";
import type { Recording } from "./recording.ts";

/** Memory that firmware lets functions reach 1:1. */
interface DirectRegion {
  readonly base: number;
  readonly limit: number;
  readonly devices: readonly string[];
}

/**
 * The RMRRs of a recorded machine, from the reserved regions of its groups at boot. Regions of kind `direct-relaxable` are
 * left out: those that the kernel makes by itself are not in the firmware table.
 *
 * @throws InputError for a function that the dump does not have
 */
export function directRegions(recording: Recording, topology: TopologyDescription): readonly DirectRegion[] {
  const groups = [...(recording.phases[0]?.state?.groups.values() ?? [])];
  return groups.flatMap(({ devices, reserved }) =>
    reserved.flatMap((text) => {
      const [, first, last] = /^(0x[0-9a-f]+) (0x[0-9a-f]+) direct$/iu.exec(text) ?? [];
      return first === undefined || last === undefined
        ? []
        : [
            {
              base: Number(first),
              limit: Number(last),
              devices: devices.map((name) => pathOf(name, recording, topology)),
            },
          ];
    }),
  );
}

/** A function's path as a device scope has it: start bus, then device and function of each hop. Source: VT-d 5.10 §8.3.1. */
function pathOf(name: string, recording: Recording, { ports, endpoints }: TopologyDescription): string {
  const parents = new Map([...ports, ...endpoints].map(({ rid, parent }) => [rid, parent]));
  const start = parseRid(name);
  if (!parents.has(start)) {
    throw new InputError(`${name} has a direct region but is not in the dump`, { file: recording.file });
  }
  const hops: string[] = [];
  for (let rid = parents.get(start); rid !== undefined; rid = parents.get(rid)) {
    hops.unshift(formatRid(rid));
  }
  return [...hops, formatRid(start)].map((hop, index) => (index === 0 ? hop : hop.slice(3))).join("/");
}
