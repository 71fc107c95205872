/** Where the AMD drivers of the modelled kernels differ. */
export interface AmdVersion {
  /** The driver as a whole: 6.1 has its own order of attach and detach. */
  readonly attach: "6.1" | "6.12";
  /**
   * How an entry is written: built from nothing, 128 bits at a time, with an invalidation of its own (7.2); or 64 bits at a
   * time over what is there, where I and its neighbours stay set for good.
   */
  readonly dte: "built" | "patched";
  /** Aliases get a plain copy of the entry, with no invalidation of its own. */
  readonly copiesAliases: boolean;
  /** What a device must have before it may use ATS: all units GT, PPR, GIoSup and EPHSup, or nothing (6.1). */
  readonly atsGate: "gt-ppr" | "none";
  /** One IDENTITY domain for all, or one for each group. */
  readonly identity: "static" | "per-group";
  /** DTE.PPR is set for devices that count as IOMMUv2-capable, whatever their domain. */
  readonly pprWithIommuV2: boolean;
  /** There is a static BLOCKED domain; without it the core blocks with an empty paging domain. */
  readonly blockedDomain: boolean;
  /** The core attaches a release domain, or the driver unbinds the device itself. */
  readonly release: "domain" | "detach";
  /** STU is prepared at probe. */
  readonly prepareAts: boolean;
  /** Domains of users have host (v1) tables whatever the default is. */
  readonly usersGetV1: boolean;
  /** An unmap invalidates entries of upper tables too, although no table was freed. */
  readonly unmapFlushesDirectories: boolean;
  /** Processes can be attached to PASIDs. */
  readonly sva: boolean;
}

/** Linux 7.2. */
const linux72: AmdVersion = {
  attach: "6.12",
  dte: "built",
  copiesAliases: false,
  atsGate: "gt-ppr",
  identity: "static",
  pprWithIommuV2: false,
  blockedDomain: true,
  release: "domain",
  prepareAts: true,
  usersGetV1: false,
  unmapFlushesDirectories: false,
  sva: true,
};

/** Linux 6.12: `set_dte_entry()`, `clear_dte_entry()`, `protection_domain_alloc()`, `amd_iommu_uninit_device()`. */
const linux612: AmdVersion = {
  attach: "6.12",
  dte: "patched",
  copiesAliases: false,
  atsGate: "gt-ppr",
  identity: "per-group",
  pprWithIommuV2: false,
  blockedDomain: true,
  release: "detach",
  prepareAts: true,
  usersGetV1: true,
  unmapFlushesDirectories: true,
  sva: true,
};

/** Linux 6.1: `attach_device()`, `do_detach()`, `iommu_init_device()`. */
const linux61: AmdVersion = {
  attach: "6.1",
  dte: "patched",
  copiesAliases: true,
  atsGate: "none",
  identity: "per-group",
  pprWithIommuV2: true,
  blockedDomain: false,
  release: "detach",
  prepareAts: false,
  usersGetV1: true,
  unmapFlushesDirectories: true,
  sva: false,
};

/** By kernel. */
export const amdVersions: Readonly<Record<string, AmdVersion>> = {
  "linux-6.1": linux61,
  "linux-6.12": linux612,
  "linux-7.2": linux72,
};
