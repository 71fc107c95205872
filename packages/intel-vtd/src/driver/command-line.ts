import type { KernelProfile } from "@iommu-lab/core";

/** What `intel_iommu=` on the command line asks for. */
export interface IntelIommuWords {
  /** `off` disables DMA remapping. */
  readonly enabled: boolean;
  /** `sm_on`, `sm_off`; scalable mode also needs the hardware. */
  readonly scalable: boolean;
  /** `strict`: no lazy flushing. */
  readonly strict: boolean;
}

/**
 * Reads the words of `intel_iommu=`. As in the kernel a word counts by its beginning, and later ones win.
 *
 * Source: Linux 7.2 `intel_iommu_setup()`.
 *
 * @param scalable what holds without `sm_on` or `sm_off`: `CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON`
 */
export function intelIommuWords(kernel: KernelProfile, scalable: boolean): IntelIommuWords {
  const words = { enabled: true, scalable, strict: false };
  for (const word of (kernel.parameters.get("intel_iommu") ?? "").split(",")) {
    if (word.startsWith("on")) {
      words.enabled = true;
    } else if (word.startsWith("off")) {
      words.enabled = false;
    } else if (word.startsWith("strict")) {
      words.strict = true;
    } else if (word.startsWith("sm_on")) {
      words.scalable = true;
    } else if (word.startsWith("sm_off")) {
      words.scalable = false;
    }
  }
  return words;
}
