import { type Op, type Words, KernelError, getBits, withLock } from "@iommu-lab/core";
import { EMPTY_DTE, encodeDte } from "../layout/device-table-entry.ts";
import { decideAts, explainFailure } from "./ats-decision.ts";
import { disableCapabilities, disablePri, enableAts, enablePasid, enablePri } from "./capabilities.ts";
import type { DeviceData } from "./device-data.ts";
import { freeGcr3Table, setupGcr3Table, updateGcr3 } from "./gcr3-table.ts";
import { flushDomain } from "./invalidation.ts";
import type { ProtectionDomain } from "./protection-domain.ts";
import type { DriverState } from "./state.ts";

/** SysMgt with which IW must be set. */
const ERRATUM_63_SYSTEM_MANAGEMENT = 1;

/** The entry for what a device is bound to. Source: Linux 7.2 `set_dte_gcr3_table()`, `set_dte_passthrough()`, `set_dte_v1()`. */
function entryFor(state: DriverState, device: DeviceData, domain: ProtectionDomain): Words {
  const { rid, gcr3 } = device;
  const common = { translationValid: true, read: true, write: true, iotlb: device.atsEnabled };
  if (gcr3.table !== 0) {
    return state.deviceTable.entryWith(rid, {
      ...common,
      guestValid: true,
      guestIo: domain.mode === "v2",
      glx: gcr3.glx,
      gcr3Root: gcr3.table,
      pageRequests: device.pageRequests,
      domainId: gcr3.domainId,
    });
  }
  const { domainId, table } = domain;
  const fields = { ...common, domainId, pageRequests: state.version.pprWithIommuV2 && iommuV2(state, device) };
  if (domain.mode === "v1" && table !== undefined) {
    return state.deviceTable.entryWith(rid, { ...fields, mode: table.format.levels, hostRoot: table.root });
  }
  return state.deviceTable.entryWith(rid, fields);
}

/** Page requests are let through whatever the domain. Source: Linux 6.1 `do_attach()`, `set_dte_entry()`. */
function iommuV2(state: DriverState, device: DeviceData): boolean {
  return device.pasidSupported && state.features.eph;
}

/** Writes the entry of a bound device. Source: Linux 7.2 `set_dte_entry()`. */
export function* setDteEntry(state: DriverState, device: DeviceData, domain: ProtectionDomain): Op<void> {
  if (state.version.dte === "patched") {
    yield* writeDteEntry(state, device, domain);
    yield* device.unit.completionWait();
    return;
  }
  const oldDomainId = domainIdOf(state, device);
  yield* state.deviceTable.update(device, entryFor(state, device, domain));
  if (oldDomainId !== 0) {
    yield* state.deviceTable.flushDomainId(device.unit, oldDomainId);
  }
}

/**
 * Patches the entry of a bound device and its aliases and queues their invalidation; waits for nothing.
 *
 * Source: Linux 6.12 `dev_update_dte()`, `set_dte_entry()`; 6.1 `do_attach()`.
 */
export function* writeDteEntry(state: DriverState, device: DeviceData, domain: ProtectionDomain): Op<void> {
  const oldDomainId = domainIdOf(state, device);
  yield* state.deviceTable.patch(device, entryFor(state, device, domain), "second-first");
  if (oldDomainId !== 0) {
    yield* state.deviceTable.flushDomainId(device.unit, oldDomainId);
  }
  yield* state.deviceTable.cloneAliases(device);
  yield* state.deviceTable.flush(device);
}

function domainIdOf(state: DriverState, device: DeviceData): number {
  return getBits(state.deviceTable.read(device.rid), 79, 64);
}

/**
 * Blocks a device: V alone, and what firmware wants to stay. Before 7.2 TV stays as well, with no permission (but IW beside
 * SysMgt=1, erratum 63), and so does I.
 *
 * Source: Linux 7.2 `clear_dte_entry()`; 6.12 `amd_iommu_apply_erratum_63()`.
 */
export function* clearDteEntry(state: DriverState, device: DeviceData): Op<void> {
  const { deviceTable } = state;
  if (state.version.dte === "built") {
    yield* deviceTable.update(device, deviceTable.clearEntry(device.rid));
    return;
  }
  const write = getBits(deviceTable.read(device.rid), 105, 104) === ERRATUM_63_SYSTEM_MANAGEMENT;
  const blocked = encodeDte({ ...EMPTY_DTE, valid: true, translationValid: true, write });
  yield* deviceTable.patch(device, blocked, "first-second");
  yield* deviceTable.cloneAliases(device);
  yield* deviceTable.flush(device);
}

function* clearDteAndWait(state: DriverState, device: DeviceData): Op<void> {
  yield* clearDteEntry(state, device);
  if (state.version.dte === "patched") {
    yield* device.unit.completionWait();
  }
}

/** Source: Linux 7.2 `init_gcr3_table()`. */
function* initGcr3Table(state: DriverState, device: DeviceData, domain: ProtectionDomain): Op<void> {
  if (domain.type === "IDENTITY" && !device.pasidSupported) {
    return;
  }
  setupGcr3Table(state, device, device.maxPasids > 0 ? device.maxPasids : 1);
  if (domain.mode !== "v2" || domain.table === undefined) {
    return;
  }
  try {
    yield* updateGcr3(state, device, 0, domain.table.root);
  } catch (error) {
    if (error instanceof KernelError) {
      freeGcr3Table(state, device);
    }
    throw error;
  }
}

/** Source: Linux 7.2 `destroy_gcr3_table()`. */
function* destroyGcr3Table(state: DriverState, device: DeviceData, domain: ProtectionDomain): Op<void> {
  const { gcr3 } = device;
  if (domain.mode === "v2") {
    yield* updateGcr3(state, device, 0, undefined);
  }
  if (gcr3.table === 0) {
    return;
  }
  if (gcr3.pasidCount > 0) {
    state.decide(device.function.name, {
      rule: "amd-gcr3-goes-with-rid-domain",
      input: `${gcr3.pasidCount} PASIDs attached`,
      answer: "GCR3 table freed",
      reason: "the GCR3 table belongs to the RID's domain: attached PASIDs stay in the core's list and reach nothing",
      source: "Linux 7.2 detach_device(), destroy_gcr3_table()",
      basis: "source",
    });
  }
  freeGcr3Table(state, device);
}

/** ATS, and with a GCR3 table PRI and its fault queue. Source: Linux 7.2 `attach_device()`, `amd_iommu_iopf_add_device()`. */
export function* enableAtsAndPri(state: DriverState, device: DeviceData, pageRequests: boolean): Op<void> {
  device.atsWanted = true;
  explainFailure(state, device, "ATS", yield* enableAts(device));
  if (!pageRequests) {
    return;
  }
  explainFailure(state, device, "PRI", yield* enablePri(device));
  if (device.priEnabled) {
    if (device.unit.faultQueue) {
      device.pageRequests = true;
    } else {
      yield* disablePri(device);
    }
  }
}

/**
 * Binds a device that is bound to nothing: GCR3 table, PASID, ATS and PRI, then the DTE. ATS Enable is set before the DTE
 * permits ATS.
 *
 * Source: Linux 7.2 `attach_device()`.
 *
 * @throws KernelError EBUSY, EINVAL, ENOSPC, ENOMEM; the device then stays blocked
 */
function attachDevice(state: DriverState, device: DeviceData, domain: ProtectionDomain): Op<void> {
  return withLock(device.mutex, function* () {
    if (device.domain !== undefined) {
      throw new KernelError("EBUSY", `${device.function.name} is attached already`);
    }
    domain.attachUnit(device.unit);
    if (domain.svaCapable) {
      try {
        yield* initGcr3Table(state, device, domain);
      } catch (error) {
        if (error instanceof KernelError) {
          domain.detachUnit(device.unit);
        }
        throw error;
      }
      explainFailure(state, device, "PASID", yield* enablePasid(device));
    }
    device.domain = domain;
    if (decideAts(state, device, "rid-attach", domain.type, device.gcr3.pasidCount)) {
      yield* enableAtsAndPri(state, device, domain.svaCapable);
    }
    yield domain.lock.exclusive;
    domain.devices.unshift(device);
    domain.lock.release();
    yield* setDteEntry(state, device, domain);
  });
}

/**
 * Unbinds a device and blocks it: ATS, PASID and PRI off, then the DTE, then its domain is invalidated on IOTLBs and on the
 * ATCs of others; its own ATC is not, because ATS is off by then. The GCR3 table goes, whatever PASIDs it holds.
 *
 * Source: Linux 7.2 `detach_device()`.
 */
export function detachDevice(state: DriverState, device: DeviceData): Op<void> {
  return withLock(device.mutex, function* () {
    const { domain } = device;
    if (domain === undefined) {
      state.warn("detach_device", `${device.function.name} is not attached`);
      return;
    }
    device.pageRequests = false;
    device.atsWanted = false;
    yield* disableCapabilities(device);
    yield* clearDteAndWait(state, device);
    yield domain.lock.exclusive;
    yield* flushDomain("detach", domain, state.npCache);
    domain.devices.splice(domain.devices.indexOf(device), 1);
    domain.lock.release();
    if (domain.svaCapable) {
      yield* destroyGcr3Table(state, device, domain);
    }
    device.domain = undefined;
    domain.detachUnit(device.unit);
  });
}

/**
 * Binds a device to a domain, through the blocked state when it is bound to another one.
 *
 * Source: Linux 7.2 `amd_iommu_attach_device()`.
 *
 * @throws KernelError as {@link attachDevice}
 */
export function* attachDomain(state: DriverState, device: DeviceData, domain: ProtectionDomain): Op<void> {
  if (device.domain === domain) {
    state.decide(device.function.name, {
      rule: "amd-same-domain",
      input: `rid-attach: RID on ${domain.type}, the domain it is bound to`,
      answer: `${device.atsEnabled ? "ATS on" : "ATS off"}, nothing written`,
      reason: "the driver believes the device bound to this domain: it looks neither at the DTE nor at ATS Enable",
      source: "Linux 7.2 amd_iommu_attach_device()",
      basis: "source",
    });
    return;
  }
  if (device.domain !== undefined) {
    yield* detachDevice(state, device);
  }
  yield* attachDevice(state, device, domain);
}

/** Blocks a device. The DTE is cleared once more when it was bound. Source: Linux 7.2 `blocked_domain_attach_device()`. */
export function* blockDevice(state: DriverState, device: DeviceData): Op<void> {
  decideAts(state, device, "rid-attach", "BLOCKED", device.gcr3.pasidCount);
  if (device.domain !== undefined) {
    yield* detachDevice(state, device);
  }
  yield* withLock(device.mutex, () => clearDteAndWait(state, device));
}
