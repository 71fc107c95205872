import { coreRules } from "./rules.ts";
import type { DomainType } from "./types.ts";

/**
 * A kernel as data: which version's flows, which build options, which command line, and the named policies that differ
 * from what that version ships. Each plugin finds its own strategies under the same `id`.
 */
export interface KernelProfile {
  /** Such as `linux-7.2`. */
  readonly id: string;
  /** The command line, as given. */
  readonly cmdline: string;
  /** Its words, parsed once: `name=value` or `name` (value `""`). Later words win, and come later here. */
  readonly parameters: ReadonlyMap<string, string>;
  /** Build options that change behaviour. */
  readonly config: KernelConfig;
  /** Named policies in force, by slot; what is absent is as shipped. The plugin that owns a slot checks the object. */
  readonly slots: Readonly<Record<string, unknown>>;
}

/** Build options. */
export interface KernelConfig {
  /** `CONFIG_IOMMU_DEFAULT_*`; when undefined the architecture's usual choice (x86 `DMA-FQ`, arm64 `DMA`). */
  readonly defaultDomain?: Extract<DomainType, "IDENTITY" | "DMA" | "DMA-FQ">;
}

/** Options of {@link linux}. */
export interface KernelOptions {
  /** Kernel command line, such as `iommu.passthrough=1`. */
  readonly cmdline?: string;
  /** Build options. */
  readonly config?: KernelConfig;
  /** Policies that replace shipped ones, by slot. */
  readonly slots?: Readonly<Record<string, unknown>>;
}

/**
 * A Linux kernel profile.
 *
 * @param version `6.1`, `6.12` or `7.2`; `linux-7.2` is the same as `7.2`
 * @throws InputError for a version that is not modelled
 * @example
 * ```ts
 * const kernel = linux("7.2", { cmdline: "iommu.passthrough=1" });
 * ```
 */
export function linux(version: string, options: KernelOptions = {}): KernelProfile {
  const id = version.startsWith("linux-") ? version : `linux-${version}`;
  coreRules(id, version);
  const parameters = new Map<string, string>();
  for (const word of (options.cmdline ?? "").split(/\s+/).filter((part) => part !== "")) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    parameters.delete(name);
    parameters.set(name, equals < 0 ? "" : word.slice(equals + 1));
  }
  return {
    id,
    cmdline: options.cmdline ?? "",
    parameters,
    config: options.config ?? {},
    slots: options.slots ?? {},
  };
}
