import { KernelError } from "../sim/errors.ts";
import { withLock } from "../sim/lock.ts";
import type { Op } from "../sim/op.ts";
import { setGroupDomain } from "./attach.ts";
import { mapDirectRegions } from "./direct-regions.ts";
import type { Device } from "./device.ts";
import type { Group } from "./group.ts";
import type { CoreState } from "./state.ts";
import { domainName, errnoOf, freeDomain, iommuOf, warn } from "./state.ts";
import type { Domain, DomainType } from "./types.ts";

/** What a default domain can be. */
export type DefaultType = Extract<DomainType, "IDENTITY" | "DMA" | "DMA-FQ">;

/**
 * The global default: command line, then build option, then the architecture's habit.
 *
 * Source: Linux 7.2 `iommu_subsys_init()`, `iommu_set_def_domain_type()`, `iommu_dma_setup()`.
 */
export function globalDefaultType(state: CoreState, device: Device): DefaultType {
  const { parameters, config } = state.kernel;
  const passthrough = parameters.get("iommu.passthrough");
  if (passthrough === "1" || passthrough === "y" || parameters.get("iommu") === "pt") {
    return "IDENTITY";
  }
  const chosenDma = passthrough === "0" || passthrough === "n" || parameters.get("iommu") === "nopt";
  if (!chosenDma && config.defaultDomain === "IDENTITY") {
    return "IDENTITY";
  }
  const strict = parameters.get("iommu.strict");
  if (strict !== undefined) {
    return strict === "0" || strict === "n" ? "DMA-FQ" : "DMA";
  }
  if (config.defaultDomain === "DMA" || config.defaultDomain === "DMA-FQ") {
    return config.defaultDomain;
  }
  return iommuOf(device).driver.lazyByDefault === true ? "DMA-FQ" : "DMA";
}

/**
 * The type of a group's default domain: what the drivers of its members insist on, what an untrusted member needs, what
 * was asked for; `undefined` = the global default.
 *
 * Source: Linux 7.2 `iommu_get_default_domain_type()`.
 *
 * @throws KernelError EINVAL when a request contradicts a driver's wish
 */
function groupType(state: CoreState, group: Group, target: DefaultType | undefined): DefaultType | undefined {
  const wish = trustedWish(state, group);
  if (target !== undefined) {
    if (wish !== undefined && wish !== target) {
      throw new KernelError("EINVAL", `group ${group.id} needs ${wish}, ${target} was asked for`);
    }
    return target;
  }
  const chosen = isDefaultType(wish) ? wish : undefined;
  for (const hook of state.hooks) {
    const other = hook.defaultDomain?.(group, chosen ?? "DMA");
    if (isDefaultType(other)) {
      return other;
    }
  }
  return chosen;
}

function isDefaultType(type: DomainType | undefined): type is DefaultType {
  return type === "IDENTITY" || type === "DMA" || type === "DMA-FQ";
}

/** What the drivers of the members insist on; of two different wishes IDENTITY wins. */
function driverWish(state: CoreState, group: Group): DomainType | undefined {
  let wish: DomainType | undefined;
  for (const { device } of group.members) {
    const one = iommuOf(device).driver.defaultDomainType?.(device);
    if (one !== undefined && wish !== undefined && one !== wish) {
      warn(state, "iommu_get_def_domain_type", `members of group ${group.id} want ${wish} and ${one}: IDENTITY`);
      wish = "IDENTITY";
    } else {
      wish = wish ?? one;
    }
  }
  return wish;
}

/** {@link driverWish}, and DMA for a group with an untrusted member. */
function trustedWish(state: CoreState, group: Group): DomainType | undefined {
  const wish = driverWish(state, group);
  const untrusted = group.members.find(({ device }) => device.bus.untrusted);
  if (untrusted === undefined) {
    return wish;
  }
  if (wish !== undefined && wish !== "DMA") {
    const { name } = untrusted.device;
    throw new KernelError("EINVAL", `${name} is not trusted, but its driver wants ${wish}: refusing to probe`);
  }
  return "DMA";
}

/**
 * Allocates the default domain. A DMA domain for PASID-capable devices is asked to be PASID-compatible first.
 *
 * Source: Linux 7.2 `iommu_group_alloc_default_domain()`, `__iommu_group_alloc_default_domain()`.
 */
function allocDefault(state: CoreState, group: Group, type: DefaultType | undefined): Domain {
  const device = group.members[0]?.device;
  if (device === undefined) {
    throw new KernelError("ENODEV", `group ${group.id} is empty`);
  }
  if (type !== undefined) {
    return allocType(group, device, type);
  }
  const usual = globalDefaultType(state, device);
  try {
    return allocType(group, device, usual);
  } catch (error) {
    if (usual === "DMA") {
      throw errnoOf(error);
    }
    warn(state, "iommu_group_alloc_default_domain", `no ${usual} domain for group ${group.id}: falling back to DMA`);
    return allocType(group, device, "DMA");
  }
}

function allocType(group: Group, device: Device, type: DefaultType): Domain {
  if (group.defaultDomain?.type === type) {
    return group.defaultDomain;
  }
  const { driver } = iommuOf(device);
  if (type === "IDENTITY") {
    if (driver.identity === undefined) {
      throw new KernelError("EOPNOTSUPP", `${driver.name} has no identity domain`);
    }
    return driver.identity;
  }
  if (group.members.some((member) => (member.device.iommu?.maxPasids ?? 0) > 0)) {
    try {
      return driver.allocPaging(device, { type, pasid: true });
    } catch (error) {
      if (errnoOf(error).errno !== "EOPNOTSUPP") {
        throw error;
      }
    }
  }
  return driver.allocPaging(device, { type, pasid: false });
}

/**
 * Gives a group its default domain, at the first probe or when sysfs changes the type. The caller holds the mutex.
 *
 * Source: Linux 7.2 `iommu_setup_default_domain()`.
 *
 * @param target the requested type; undefined = by the rules
 * @throws KernelError; the group then keeps what it had
 */
export function* setupDefaultDomain(state: CoreState, group: Group, target: DefaultType | undefined): Op<void> {
  const domain = allocDefault(state, group, groupType(state, group, target));
  const old = group.defaultDomain;
  if (domain === old) {
    return;
  }
  const pending: Device[] = [];
  for (const { device } of group.members) {
    try {
      yield* mapDirectRegions(device, domain);
    } catch (error) {
      warn(state, "iommu_setup_default_domain", `direct mappings of ${device.name}: ${errnoOf(error).message}`);
      pending.push(device);
    }
  }
  group.defaultDomain = domain;
  if (state.trace.active) {
    state.trace.emit("group:default-domain", {
      group: group.id,
      domain: domainName(domain),
      domainType: domain.type,
    });
  }
  if (group.domain === undefined) {
    try {
      yield* setGroupDomain(state, group, domain, { mustSucceed: true, via: "default" });
    } catch (error) {
      warn(state, "iommu_setup_default_domain", `first attach of group ${group.id}: ${errnoOf(error).message}`);
    }
  } else {
    try {
      yield* setGroupDomain(state, group, domain, { mustSucceed: false, via: "default" });
    } catch (error) {
      group.defaultDomain = old;
      freeDomain(domain);
      throw error;
    }
  }
  for (const device of pending) {
    try {
      yield* mapDirectRegions(device, domain);
    } catch (error) {
      const failure = errnoOf(error);
      if (old !== undefined) {
        yield* setGroupDomain(state, group, old, { mustSucceed: true, via: "default" });
        group.defaultDomain = old;
        freeDomain(domain);
      }
      throw failure;
    }
  }
  freeDomain(old);
}

const sysfsTypes: Readonly<Record<string, DefaultType | "auto">> = {
  identity: "IDENTITY",
  DMA: "DMA",
  "DMA-FQ": "DMA-FQ",
  auto: "auto",
};

/**
 * A write to a group's sysfs `type` file.
 *
 * Source: Linux 7.2 `iommu_group_store_type()`.
 *
 * @param value `identity`, `DMA`, `DMA-FQ`, `auto`
 * @throws KernelError EINVAL for another word or a group without default domain, EPERM while a driver is bound, EBUSY
 * while a member is staged for reset
 */
export function* storeType(state: CoreState, group: Group, value: string): Op<void> {
  const wanted = sysfsTypes[value];
  if (group.defaultDomain === undefined || wanted === undefined) {
    throw new KernelError("EINVAL", `type ${JSON.stringify(value)} of group ${group.id}`);
  }
  yield* withLock(group.mutex, function* () {
    if (wanted === "DMA-FQ" && group.defaultDomain?.type === "DMA") {
      // A flush queue is brought up on the live domain; nothing is attached again.
      group.defaultDomain.type = "DMA-FQ";
      return;
    }
    if (group.members.length === 0 || group.ownerCount > 0) {
      throw new KernelError("EPERM", `group ${group.id} is in use`);
    }
    yield* setupDefaultDomain(state, group, wanted === "auto" ? undefined : wanted);
  });
}
