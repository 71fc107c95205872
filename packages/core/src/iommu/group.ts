import { Lock } from "../sim/lock.ts";
import type { Device } from "./device.ts";
import type { Domain, Pasid } from "./types.ts";

/** The core's entry for a device in a group (`struct group_device`). */
export interface GroupDevice {
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
}
