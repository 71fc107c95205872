import type { Device } from "./device.ts";
import type { Group } from "./group.ts";
import type { Domain, DomainType, Pasid } from "./types.ts";

/**
 * Observers of a device's life; many per platform. A hook that throws a KernelError vetoes the step, and the step fails
 * with that errno, unless the kernel's path cannot fail (release, must-succeed attaches): there a veto is a bug.
 *
 * Boot DMA security and similar modes are written as hooks, not inside the core.
 */
export interface LifecycleHooks {
  /** Before the IOMMU driver's probe. */
  probe?(device: Device): void;
  /** A device joined a group. */
  groupJoin?(group: Group, device: Device): void;
  /** May answer another default domain type for a group than the kernel's rule; undefined = no opinion. */
  defaultDomain?(group: Group, type: DomainType): DomainType | undefined;
  /** Before an attach of a RID domain. */
  attach?(device: Device, domain: Domain, old: Domain | undefined): void;
  /** Before a PASID is set or removed (`domain` = BLOCKED). */
  setPasid?(device: Device, pasid: Pasid, domain: Domain, old: Domain | undefined): void;
  /** Before a PASID is taken away where no BLOCKED domain does it (6.12). */
  removePasid?(device: Device, pasid: Pasid, domain: Domain): void;
  /** Before a driver binds; after `use_default_domain`. */
  bind?(device: Device): void;
  /** After a driver was unbound. */
  unbind?(device: Device): void;
  /** A function was staged for reset (`prepare`) or unstaged (`done`); once, however deep the pair is nested. */
  reset?(device: Device, phase: "prepare" | "done"): void;
  /** Before the release domain is attached. */
  release?(device: Device): void;
}
