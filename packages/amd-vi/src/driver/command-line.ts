import type { KernelProfile } from "@iommu-lab/core";

/** What the command line and the build say to the driver. */
export interface AmdCommandLine {
  /** `amd_iommu=off`. */
  readonly off: boolean;
  /** `amd_iommu=fullflush`. */
  readonly fullFlush: boolean;
  /** `amd_iommu=force_isolation`: device capabilities are ignored unless pass-through is the default. */
  readonly forceIsolation: boolean;
  /** `amd_iommu=pgtbl_v1`, the default, or `pgtbl_v2`. */
  readonly pageTable: "v1" | "v2";
  /** `iommu_default_passthrough()`. */
  readonly passthroughDefault: boolean;
  /** `mem_encrypt=on`: memory encryption is active. */
  readonly memoryEncryption: boolean;
  /** Interrupts are remapped; `intremap=off` says no. */
  readonly interruptRemapping: boolean;
}

/**
 * Reads what concerns AMD-Vi. Of contradicting words the last wins.
 *
 * Source: Linux 7.2 `parse_amd_iommu_options()`, `iommu_subsys_init()`, `setup_irqremap()`.
 */
export function parseCommandLine(kernel: KernelProfile): AmdCommandLine {
  const { parameters, config } = kernel;
  const words = (parameters.get("amd_iommu") ?? "").split(",");
  const passthrough = parameters.get("iommu.passthrough");
  const legacy = parameters.get("iommu");
  const wanted = passthrough === "1" || passthrough === "y" || legacy === "pt";
  const refused = passthrough === "0" || passthrough === "n" || legacy === "nopt";
  return {
    off: words.includes("off"),
    fullFlush: words.includes("fullflush"),
    forceIsolation: words.includes("force_isolation"),
    pageTable: words.lastIndexOf("pgtbl_v2") > words.lastIndexOf("pgtbl_v1") ? "v2" : "v1",
    passthroughDefault: wanted || (!refused && config.defaultDomain === "IDENTITY"),
    memoryEncryption: parameters.get("mem_encrypt") === "on",
    interruptRemapping: parameters.get("intremap") !== "off",
  };
}
