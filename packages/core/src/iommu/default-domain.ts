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

/** `kstrtobool()`: the first letters decide; undefined where it returns an error. */
function parseBool(value: string | undefined): boolean | undefined {
  if (value === undefined) {
    return undefined;
  }
  if (/^(?:[eyt1]|on)/i.test(value)) {
    return true;
  }
  return /^(?:[dnf0]|of)/i.test(value) ? false : undefined;
}

/** What the command line says of pass-through; the last word that says something wins. */
function chosenPassthrough(parameters: ReadonlyMap<string, string>): boolean | undefined {
  let chosen: boolean | undefined;
  for (const [name, value] of parameters) {
    if (name === "iommu.passthrough") {
      chosen = parseBool(value) ?? chosen;
    } else if (name === "iommu" && (value === "pt" || value === "nopt")) {
      chosen = value === "pt";
    }
  }
  return chosen;
}

/**
 * The global default: command line, then build option (not with memory encryption), then the architecture's habit.
 *
 * Source: Linux 7.2 `iommu_subsys_init()`, `iommu_set_def_domain_type()`, `iommu_dma_setup()`.
 */
export function globalDefaultType(state: CoreState, device: Device): DefaultType {
  const { parameters, config } = state.kernel;
  const built = config.defaultDomain === "IDENTITY" && parameters.get("mem_encrypt") !== "on";
  if (chosenPassthrough(parameters) ?? built) {
    return "IDENTITY";
  }
  const strict = parseBool(parameters.get("iommu.strict"));
  if (strict !== undefined) {
    return strict ? "DMA" : "DMA-FQ";
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
    const other = hook.defaultDomain?.(group, chosen ?? globalDefaultType(state, firstDevice(group)));
    if (isDefaultType(other)) {
      return other;
    }
  }
  return chosen;
}

function isDefaultType(type: DomainType | undefined): type is DefaultType {
  return type === "IDENTITY" || type === "DMA" || type === "DMA-FQ";
}

/** What one device needs: DMA when it is untrusted, else its driver's wish. Source: Linux 6.1 `iommu_get_def_domain_type()`. */
export function deviceWish(device: Device): DefaultType | undefined {
  if (device.bus.untrusted) {
    return "DMA";
  }
  const wish = iommuOf(device).driver.defaultDomainType?.(device);
  return isDefaultType(wish) ? wish : undefined;
}

/** What the drivers of the members insist on; of two different wishes IDENTITY wins, else the first. */
function driverWish(state: CoreState, group: Group): DomainType | undefined {
  let wish: DomainType | undefined;
  for (const { device } of group.members) {
    const one = iommuOf(device).driver.defaultDomainType?.(device);
    if (one !== undefined && wish !== undefined && one !== wish) {
      warn(state, "iommu_get_def_domain_type", `members of group ${group.id} want ${wish} and ${one}`);
      wish = one === "IDENTITY" ? one : wish;
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

function firstDevice(group: Group): Device {
  const device = group.members[0]?.device;
  if (device === undefined) {
    throw new KernelError("ENODEV", `group ${group.id} is empty`);
  }
  return device;
}

/**
 * Allocates the default domain, or finds that the present one is of the wanted type. A DMA domain for a group whose first
 * device is PASID-capable is asked to be PASID-compatible first.
 *
 * Source: Linux 7.2 `iommu_group_alloc_default_domain()`, `__iommu_group_alloc_default_domain()`.
 */
function allocDefault(state: CoreState, group: Group, type: DefaultType | undefined): Domain {
  const device = firstDevice(group);
  if (type !== undefined) {
    return allocType(state, group, device, type);
  }
  const usual = globalDefaultType(state, device);
  try {
    return allocType(state, group, device, usual);
  } catch (error) {
    const { message } = errnoOf(error);
    if (usual === "DMA") {
      throw new KernelError("EINVAL", `no default domain for group ${group.id}: ${message}`);
    }
    const domain = allocType(state, group, device, "DMA");
    warn(state, "iommu_group_alloc_default_domain", `no ${usual} domain for group ${group.id}: falling back to DMA`);
    return domain;
  }
}

function allocType(state: CoreState, group: Group, device: Device, type: DefaultType): Domain {
  if (group.defaultDomain?.type === type) {
    return group.defaultDomain;
  }
  const { driver, maxPasids } = iommuOf(device);
  if (type === "IDENTITY") {
    const identity = driver.identity ?? driver.allocIdentity?.(device);
    if (identity === undefined) {
      throw new KernelError("EOPNOTSUPP", `${driver.name} has no identity domain`);
    }
    return identity;
  }
  if (maxPasids > 0 && state.rules.pasidDefaultDomain) {
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
  let directFailed = false;
  for (const { device } of group.members) {
    try {
      yield* mapDirectRegions(state, device, domain);
    } catch (error) {
      warn(state, "iommu_setup_default_domain", `direct mappings of ${device.name}: ${errnoOf(error).message}`);
      directFailed = true;
    }
  }
  // Before the attach: a deferred one is recognised by it.
  setDefault(state, group, domain);
  if (group.domain === undefined) {
    try {
      yield* setGroupDomain(state, group, domain, { mustSucceed: true, via: "default" });
    } catch (error) {
      const failure = errnoOf(error);
      warn(state, "iommu_setup_default_domain", `first attach of group ${group.id}: ${failure.message}`);
      throw failure;
    }
  } else {
    try {
      yield* setGroupDomain(state, group, domain, { mustSucceed: false, via: "default" });
    } catch (error) {
      restoreDefault(state, group, old);
      throw error;
    }
  }
  if (directFailed) {
    yield* mapAgain(state, group, domain, old);
  }
  freeDomain(old);
}

/** The group's default domain is another one now. */
export function setDefault(state: CoreState, group: Group, domain: Domain): void {
  group.defaultDomain = domain;
  if (state.trace.active) {
    state.trace.emit("group:default-domain", {
      group: group.id,
      domain: domainName(domain),
      domainType: domain.type,
    });
  }
}

/** The new default domain goes; a group that never had another keeps it, and release will free it. */
function restoreDefault(state: CoreState, group: Group, old: Domain | undefined): void {
  if (old !== undefined) {
    freeDomain(group.defaultDomain);
    setDefault(state, group, old);
  }
}

/** Direct mappings that failed before the attach are tried again after it; when they fail again, the old domain returns. */
function* mapAgain(state: CoreState, group: Group, domain: Domain, old: Domain | undefined): Op<void> {
  for (const { device } of group.members) {
    try {
      yield* mapDirectRegions(state, device, domain);
    } catch (error) {
      const failure = errnoOf(error);
      if (old !== undefined) {
        yield* putBack(state, group, old);
        restoreDefault(state, group, old);
      }
      throw failure;
    }
  }
}

/** The kernel does not look at the result: whatever happens, the group is on `old` in its books. */
function* putBack(state: CoreState, group: Group, old: Domain): Op<void> {
  try {
    yield* setGroupDomain(state, group, old, { mustSucceed: true, via: "default" });
  } catch (error) {
    errnoOf(error);
  }
}

const sysfsTypes: ReadonlyMap<string, DefaultType | "auto"> = new Map([
  ["identity", "IDENTITY"],
  ["DMA", "DMA"],
  ["DMA-FQ", "DMA-FQ"],
  ["auto", "auto"],
] as const);

/**
 * The word written to a group's sysfs `type` file; undefined = `auto`.
 *
 * @throws KernelError EINVAL for another word or a group without default domain
 */
export function typeOfWord(group: Group, value: string): DefaultType | undefined {
  const wanted = sysfsTypes.get(value);
  if (group.defaultDomain === undefined || wanted === undefined) {
    throw new KernelError("EINVAL", `type ${JSON.stringify(value)} of group ${group.id}`);
  }
  return wanted === "auto" ? undefined : wanted;
}

/**
 * A write to a group's sysfs `type` file.
 *
 * Source: Linux 7.2 `iommu_group_store_type()`.
 *
 * @throws KernelError EPERM while a driver is bound, EBUSY while a member is staged for reset
 */
export function* storeType(state: CoreState, group: Group, target: DefaultType | undefined): Op<void> {
  yield* withLock(group.mutex, function* () {
    if (target === "DMA-FQ" && group.defaultDomain?.type === "DMA") {
      // A flush queue is brought up on the live domain; nothing is attached again.
      group.defaultDomain.type = "DMA-FQ";
      return;
    }
    if (group.members.length === 0 || group.ownerCount > 0) {
      throw new KernelError("EPERM", `group ${group.id} is in use`);
    }
    yield* setupDefaultDomain(state, group, target);
  });
}
