import type { Digest } from "../sim/digest.ts";
import { Lock } from "../sim/lock.ts";
import type { Device } from "./device.ts";
import type { Domain, Pasid } from "./types.ts";

/** The core's entry for a device in a group (`struct group_device`). */
export interface GroupDevice {
  /** The member. */
  readonly device: Device;
  /** Parked on the blocking domain for a reset (7.2). */
  blocked: boolean;
  /** Nested prepares (7.2). */
  resetDepth: number;
}

/** Devices that cannot be told apart or kept apart: the unit of attachment and ownership (`struct iommu_group`). */
export class Group {
  /** Number as in sysfs, from 0. */
  readonly id: number;
  /** In the order in which they joined. */
  readonly members: GroupDevice[] = [];
  /** What the core believes the members' RIDs are attached to. */
  domain: Domain | undefined;
  /** What the DMA API uses. */
  defaultDomain: Domain | undefined;
  /** What a claim and a reset attach. */
  blockingDomain: Domain | undefined;
  /** Users of the group: bound drivers, or claims of one owner. */
  ownerCount = 0;
  /** Exclusive owner (VFIO, iommufd), by any name. */
  owner: string | undefined;
  /** PASID → domain. */
  readonly pasids: Map<Pasid, Domain> = new Map();
  /** Members staged for reset (7.2). */
  recoveryCount = 0;
  /** `group->mutex`. */
  readonly mutex: Lock;

  constructor(id: number) {
    this.id = id;
    this.mutex = new Lock(`iommu_group ${id} mutex`);
  }

  /** The entry of a member. */
  member(device: Device): GroupDevice | undefined {
    return this.members.find((one) => one.device === device);
  }

  /** Writes what the core believes of it. Domains are written by number and type: their tables are bytes in memory. */
  digest(into: Digest): void {
    into.number(this.id);
    into.number(this.members.length);
    for (const { blocked, device, resetDepth } of this.members) {
      into.number(device.id);
      into.number(resetDepth * 2 + (blocked ? 1 : 0));
    }
    for (const domain of [this.domain, this.defaultDomain, this.blockingDomain]) {
      into.number(domain?.id ?? 0);
      into.text(domain?.type ?? "");
    }
    into.number(this.ownerCount);
    into.text(this.owner ?? "");
    into.number(this.recoveryCount);
    into.number(this.pasids.size);
    for (const pasid of [...this.pasids.keys()].toSorted((a, b) => a - b)) {
      into.number(pasid);
      into.number(this.pasids.get(pasid)?.id ?? 0);
    }
    this.mutex.digest(into);
  }
}
