import type { KernelProfile } from "@iommu-lab/core";
import { InputError } from "@iommu-lab/core";

/** What drivers/pci of one kernel version does its own way, as far as topology and groups go. */
export interface PciProfile {
  /** Such as `linux-7.2`. */
  readonly id: string;
  /**
   * When ACS is enabled: as soon as a function is enumerated (`pci_acs_init()`), or when the bus configures it for DMA,
   * before an IOMMU probes it and again before a driver binds (`pci_dma_configure()`).
   */
  readonly acsEnabledAt: "enumeration" | "dma-configure";
  /** `pci=config_acs=` is known. */
  readonly configAcs: boolean;
  /**
   * What `pci=disable_acs_redir=` starts from: what the kernel has just enabled, or what firmware left, so that the
   * function then lacks Source Validation and Upstream Forwarding as well (`__pci_config_acs()`).
   */
  readonly disableRedirectFrom: "kernel" | "firmware";
  /** IDT switches 111d:80b5 and 111d:8090: Source Validation is not used (`pci_disable_broken_acs_cap()`). */
  readonly ignoresBrokenSourceValidation: boolean;
}

const profiles: readonly PciProfile[] = [
  {
    id: "linux-6.1",
    acsEnabledAt: "enumeration",
    configAcs: false,
    disableRedirectFrom: "kernel",
    ignoresBrokenSourceValidation: false,
  },
  {
    id: "linux-6.12",
    acsEnabledAt: "enumeration",
    configAcs: true,
    disableRedirectFrom: "firmware",
    ignoresBrokenSourceValidation: false,
  },
  {
    id: "linux-7.2",
    acsEnabledAt: "dma-configure",
    configAcs: true,
    disableRedirectFrom: "firmware",
    ignoresBrokenSourceValidation: true,
  },
];

/** The kernels whose PCI core is modelled. */
export const pciKernels: readonly string[] = profiles.map(({ id }) => id);

/**
 * The PCI core of a kernel.
 *
 * @param kernel a profile, `7.2`, or `linux-7.2`
 * @throws InputError for a version that is not modelled
 */
export function pciProfile(kernel: KernelProfile | string): PciProfile {
  const name = typeof kernel === "string" ? kernel : kernel.id;
  const id = name.startsWith("linux-") ? name : `linux-${name}`;
  const found = profiles.find((one) => one.id === id);
  if (found === undefined) {
    throw new InputError(`unknown kernel ${JSON.stringify(name)}: expected one of ${pciKernels.join(", ")}`);
  }
  return found;
}
