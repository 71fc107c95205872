import type { Op } from "@iommu-lab/core";
import { KernelError } from "@iommu-lab/core";
import type { PciDev } from "@iommu-lab/pci";
import {
  pciAtsQueueDepth,
  pciAtsSupported,
  pciDisableAts,
  pciDisablePasid,
  pciDisablePri,
  pciEnableAts,
  pciEnablePasid,
  pciEnablePri,
  pciPasidFeatures,
  pciPriSupported,
  pciResetPri,
} from "@iommu-lab/pci";
import type { DeviceData } from "./device-data.ts";

const PAGE_SHIFT = 12;
/** Outstanding page requests the driver allows. */
const PAGE_REQUESTS = 32;

/** Runs a step whose errno the driver does not look at. @returns its error, undefined when it succeeded */
export function* failureOf(step: Op<void>): Op<KernelError | undefined> {
  try {
    yield* step;
    return undefined;
  } catch (error) {
    if (error instanceof KernelError) {
      return error;
    }
    throw error;
  }
}

/** Records what the function can do. Source: Linux 7.2 `pdev_get_caps()`. */
export function recordCapabilities(device: DeviceData, dev: PciDev): void {
  device.atsSupported = pciAtsSupported(dev);
  device.priSupported = pciPriSupported(dev);
  try {
    pciPasidFeatures(dev);
    device.pasidSupported = true;
  } catch (error) {
    if (!(error instanceof KernelError)) {
      throw error;
    }
    device.pasidSupported = false;
  }
}

/** Source: Linux 7.2 `pdev_enable_cap_pasid()`: no features are asked for, so only user pages can be reached. */
export function* enablePasid(device: DeviceData): Op<KernelError | undefined> {
  if (device.pasidEnabled || !device.pasidSupported) {
    return undefined;
  }
  const error = yield* failureOf(pciEnablePasid(device.function, 0));
  device.pasidEnabled = error === undefined;
  return error;
}

/** Source: Linux 7.2 `pdev_enable_cap_ats()`; the caller knows that all units have IotlbSup. */
export function* enableAts(device: DeviceData): Op<KernelError | undefined> {
  if (device.atsEnabled || !device.atsSupported) {
    return undefined;
  }
  const error = yield* failureOf(pciEnableAts(device.function, PAGE_SHIFT));
  if (error === undefined) {
    device.atsEnabled = true;
    device.atsQueueDepth = pciAtsQueueDepth(device.function);
  }
  return error;
}

/** Source: Linux 7.2 `pdev_enable_cap_pri()`: only with ATS. */
export function* enablePri(device: DeviceData): Op<KernelError | undefined> {
  if (device.priEnabled || !device.atsEnabled || !device.priSupported) {
    return undefined;
  }
  const error =
    (yield* failureOf(pciResetPri(device.function))) ??
    (yield* failureOf(pciEnablePri(device.function, PAGE_REQUESTS)));
  device.priEnabled = error === undefined;
  return error;
}

/** Source: Linux 7.2 `pdev_disable_cap_ats()`. */
export function* disableAts(device: DeviceData): Op<void> {
  if (device.atsEnabled) {
    yield* pciDisableAts(device.function);
    device.atsEnabled = false;
  }
}

/** Source: Linux 7.2 `pdev_disable_cap_pri()`. */
export function* disablePri(device: DeviceData): Op<void> {
  if (device.priEnabled) {
    yield* pciDisablePri(device.function);
    device.priEnabled = false;
  }
}

/** ATS, then PASID, then PRI. Source: Linux 7.2 `pdev_disable_caps()`. */
export function* disableCapabilities(device: DeviceData): Op<void> {
  yield* disableAts(device);
  if (device.pasidEnabled) {
    yield* pciDisablePasid(device.function);
    device.pasidEnabled = false;
  }
  yield* disablePri(device);
}
