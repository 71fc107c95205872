import { InputError } from "../sim/errors.ts";

/**
 * Where the IOMMU cores of the modelled kernels differ. Each field names a rule of the flows; the tables below give what
 * each version ships.
 */
export interface CoreRules {
  /** Whole flows: probe, release, sysfs `type`, a user's attach. 6.1 has its own; 6.12 and 7.2 share one. */
  readonly flows: "6.1" | "6.12";
  /**
   * When a device behind an IOMMU that firmware describes (`IommuDriver.firmwareDescribed`) is probed first: when it is
   * added, or when a driver starts to bind to it.
   */
  readonly firmwareProbe: "device-add" | "driver-bind";
  /** A device with a direct region refuses BLOCKED (`require_direct`). */
  readonly requireDirect: boolean;
  /** The release domain of such a device is IDENTITY instead of BLOCKED. */
  readonly identityAtRelease: boolean;
  /** When the whole domain is flushed after direct mappings were made. */
  readonly flushAfterDirect: "never" | "when-regions" | "always";
  /** The driver is told which domain an attach replaces; before, it asked the core where it cared. */
  readonly tellsOldDomain: boolean;
  /** A failed group attach also attaches the failing member back. */
  readonly revertFailing: boolean;
  /** A default domain for a PASID-capable device is asked to be PASID-compatible. */
  readonly pasidDefaultDomain: boolean;
  /** A driver that binds before the group has a default domain is deferred. */
  readonly deferWithoutDefault: boolean;
  /** A deferred attach (kdump) takes the group's mutex and looks at the reset state. */
  readonly lockedDeferredAttach: boolean;
  /** What becomes of an MSI allocated on a domain that can map no doorbell: an error, or an address nobody maps. */
  readonly msiWithoutWindow: "refused" | "silent";
  /** Which PASID operations the core has. */
  readonly pasid: "none" | "attach" | "attach-replace";
  /** A PASID is taken away by the driver's BLOCKED domain, or by its `removePasid`. */
  readonly pasidRemoval: "blocked-domain" | "remove-dev-pasid";
  /** Device drivers enable page requests and SVA by `iommu_dev_enable_feature()` before they share a process. */
  readonly deviceFeatures: boolean;
  /** One device of a group can be claimed (`iommu_device_claim_dma_owner()`). */
  readonly deviceClaim: boolean;
  /** `pci_dev_reset_iommu_prepare()` and its `done` exist. */
  readonly resetStaging: boolean;
}

const rules: ReadonlyMap<string, CoreRules> = new Map([
  [
    "linux-6.1",
    {
      flows: "6.1",
      firmwareProbe: "driver-bind",
      requireDirect: false,
      identityAtRelease: false,
      flushAfterDirect: "always",
      tellsOldDomain: false,
      revertFailing: false,
      pasidDefaultDomain: false,
      deferWithoutDefault: false,
      lockedDeferredAttach: false,
      msiWithoutWindow: "silent",
      pasid: "none",
      pasidRemoval: "remove-dev-pasid",
      deviceFeatures: true,
      deviceClaim: false,
      resetStaging: false,
    },
  ],
  [
    "linux-6.12",
    {
      flows: "6.12",
      firmwareProbe: "driver-bind",
      requireDirect: true,
      identityAtRelease: false,
      flushAfterDirect: "when-regions",
      tellsOldDomain: false,
      revertFailing: true,
      pasidDefaultDomain: false,
      deferWithoutDefault: true,
      lockedDeferredAttach: false,
      msiWithoutWindow: "silent",
      pasid: "attach",
      pasidRemoval: "remove-dev-pasid",
      deviceFeatures: true,
      deviceClaim: true,
      resetStaging: false,
    },
  ],
  [
    "linux-7.2",
    {
      flows: "6.12",
      firmwareProbe: "device-add",
      requireDirect: true,
      identityAtRelease: true,
      flushAfterDirect: "never",
      tellsOldDomain: true,
      revertFailing: false,
      pasidDefaultDomain: true,
      deferWithoutDefault: true,
      lockedDeferredAttach: true,
      msiWithoutWindow: "refused",
      pasid: "attach-replace",
      pasidRemoval: "blocked-domain",
      deviceFeatures: false,
      deviceClaim: true,
      resetStaging: true,
    },
  ],
]);

/** The kernels that are modelled, oldest first. */
export const kernels: readonly string[] = [...rules.keys()];

/**
 * The rules of a kernel.
 *
 * @param asked how the user named it
 * @throws InputError for one that is not modelled
 */
export function coreRules(kernel: string, asked: string = kernel): CoreRules {
  const found = rules.get(kernel);
  if (found === undefined) {
    throw new InputError(`unknown kernel ${JSON.stringify(asked)}: expected one of ${kernels.join(", ")}`);
  }
  return found;
}
