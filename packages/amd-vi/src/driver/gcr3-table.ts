import type { Op } from "@iommu-lab/core";
import { KernelError, KernelOops, hex, hex64, preempt } from "@iommu-lab/core";
import { decodeGcr3Entry, describeGcr3Entry, encodeGcr3Entry, gcr3Index } from "../layout/gcr3-entry.ts";
import type { DeviceData } from "./device-data.ts";
import type { DomainIds } from "./domain-ids.ts";
import { flushPasid } from "./invalidation.ts";
import type { DriverPorts } from "./unit.ts";

const PAGE = 4096;

/** What GCR3 tables need of the driver. */
export interface Gcr3Owner {
  readonly ports: DriverPorts;
  readonly domainIds: DomainIds;
  /** `amd_iommu_max_glx_val`. */
  readonly maxGlx: number;
}

/** Levels minus 1 for so many PASIDs. Source: Linux 7.2 `get_gcr3_levels()`. */
function gcr3Levels(pasids: number): number {
  const order = Math.ceil(Math.log2(pasids));
  return order === 0 ? 0 : Math.ceil(order / 9) - 1;
}

/**
 * Gives a device an empty GCR3 table and a domain ID of its own.
 *
 * Source: Linux 7.2 `setup_gcr3_table()`.
 *
 * @throws KernelError EINVAL beyond GLXSup, EBUSY when it has one, ENOSPC
 */
export function setupGcr3Table(owner: Gcr3Owner, device: DeviceData, pasids: number): void {
  const { gcr3 } = device;
  const levels = gcr3Levels(pasids);
  if (levels > owner.maxGlx) {
    throw new KernelError("EINVAL", `setup_gcr3_table: ${pasids} PASIDs need ${levels + 1} levels`);
  }
  if (gcr3.table !== 0) {
    throw new KernelError("EBUSY", "setup_gcr3_table: the device has a GCR3 table");
  }
  gcr3.domainId = owner.domainIds.allocate();
  gcr3.table = allocateTable(owner, device);
  gcr3.glx = levels;
}

/**
 * Takes a device's GCR3 table away, whatever PASIDs it holds.
 *
 * Source: Linux 7.2 `free_gcr3_table()`.
 */
export function freeGcr3Table(owner: Gcr3Owner, device: DeviceData): void {
  const { gcr3 } = device;
  const { memory } = owner.ports;
  for (let index = 0; gcr3.glx === 1 && index < 512; index += 1) {
    memory.load64(gcr3.table + index * 8);
    const lower = decodeGcr3Entry(memory.lo, memory.hi);
    if (lower >= 0) {
      memory.release(lower);
    }
  }
  gcr3.glx = 0;
  owner.domainIds.free(gcr3.domainId);
  memory.release(gcr3.table);
  gcr3.table = 0;
}

function allocateTable(owner: Gcr3Owner, device: DeviceData): number {
  return owner.ports.memory.allocate(PAGE, PAGE, "amd-iommu", `GCR3 table ${device.unit.name}`);
}

/**
 * Sets or clears a PASID's entry and invalidates what was cached of it.
 *
 * Without a table the kernel indexes a NULL pointer: it stores at the entry's offset and oopses, except for a PASID whose
 * entry is the first, which looks like an allocation failure.
 *
 * Source: Linux 7.2 `update_gcr3()`, `__get_gcr3_pte()`; the oops is derived, not executed.
 *
 * @param root address of the guest page table; undefined clears
 * @throws KernelError ENOMEM; KernelOops
 */
export function* updateGcr3(owner: Gcr3Owner, device: DeviceData, pasid: number, root: number | undefined): Op<void> {
  const { memory } = owner.ports;
  const { gcr3 } = device;
  if (gcr3.table === 0) {
    refuseNull(device, pasid);
  }
  let slot = gcr3.table + gcr3Index(pasid, gcr3.glx) * 8;
  for (let level = gcr3.glx - 1; level >= 0; level -= 1) {
    memory.load64(slot);
    let lower = decodeGcr3Entry(memory.lo, memory.hi);
    if (lower < 0) {
      lower = allocateTable(owner, device);
      yield preempt;
      memory.store64(slot, ...encodeGcr3Entry(lower));
    }
    slot = lower + gcr3Index(pasid, level) * 8;
  }
  yield preempt;
  store(owner, device, pasid, slot, root);
  const change = root === undefined ? "clear" : "set";
  yield* flushPasid(pasid === 0 ? `gcr3-rid-${change}` : `gcr3-${change}`, device, pasid);
}

function refuseNull(device: DeviceData, pasid: number): never {
  const offset = gcr3Index(pasid, 0) * 8;
  const name = device.dev?.name ?? hex(device.rid);
  if (offset === 0) {
    throw new KernelError("ENOMEM", `update_gcr3: ${name} has no GCR3 table`);
  }
  throw new KernelOops(
    `kernel NULL pointer dereference, address ${hex(offset)}, in update_gcr3(): PASID ${pasid} of ${name}, ` +
      `whose GCR3 table was freed when its RID left the domain (derived, not executed)`,
  );
}

function store(owner: Gcr3Owner, device: DeviceData, pasid: number, slot: number, root: number | undefined): void {
  const { memory, trace } = owner.ports;
  memory.load64(slot);
  const before = trace.active ? [hex64(memory.lo, memory.hi)] : [];
  const [lo, hi] = root === undefined ? [0, 0] : encodeGcr3Entry(root);
  memory.store64(slot, lo, hi);
  if (trace.active) {
    const fields = { iommu: device.unit.name, kind: "gcr3", rid: device.rid, pasid, address: slot, before };
    const event = trace.emit("table:write", { ...fields, after: [hex64(lo, hi)], decoded: describeGcr3Entry(lo, hi) });
    memory.noteWriter(slot, event, 8);
  }
}
