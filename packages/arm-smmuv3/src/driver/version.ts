import { KernelError, type Op } from "@iommu-lab/core";
import { type AtsPolicy, pciPrepareAts } from "@iommu-lab/pci";
import { PagingDomain } from "./domains.ts";
import type { DriverContext } from "./driver-context.ts";
import type { EntryKind } from "./entry-update.ts";
import { ArrayBook, type BookOwner, type InvalidationBook, ListBook } from "./invalidation-book.ts";
import { PagingDomain61 } from "./linux-6-1.ts";
import type { Master } from "./master.ts";
import type { SmmuDevice } from "./smmu-device.ts";
import { prepareAts } from "./probe.ts";
import { steKind, steKindWithoutSafeBits } from "./stream-entry.ts";

/** Where the drivers of different kernels differ; everything else they share. */
export interface DriverVersion {
  /** What the probe of a function does about ATS. @throws KernelError */
  readonly prepareAts: (master: Master, policy: AtsPolicy) => Op<void>;
  /** How domains remember what to invalidate. */
  readonly newBook: (owner: BookOwner) => InvalidationBook;
  /** How stream table entries are rewritten. */
  readonly steKind: EntryKind;
  /** What takes a function off its domain when it goes: the core attaches BLOCKED, the driver does, or it detaches. */
  readonly releasedBy: "core" | "driver" | "detach";
  /** Whether IDENTITY and BLOCKED are objects of the driver, one for all. */
  readonly staticDomains: boolean;
  /** Makes a paging domain. */
  readonly newPaging: (context: DriverContext, smmu: SmmuDevice, type: "DMA" | "DMA-FQ" | "UNMANAGED") => PagingDomain;
}

/**
 * The STU is written for every function, whatever comes of it; nothing is asked about functions that require ATS.
 *
 * Source: Linux 6.12 `arm_smmu_probe_device()`.
 */
function* writeStu(master: Master): Op<void> {
  try {
    yield* pciPrepareAts(master.pci, master.smmu.features.pageShift);
  } catch (error) {
    if (!(error instanceof KernelError)) {
      throw error;
    }
  }
}

/** The drivers that are modelled, by kernel. */
export const driverVersions: Readonly<Record<string, DriverVersion>> = {
  "linux-6.1": {
    *prepareAts() {
      // The STU is written when ATS is enabled.
      yield* [];
    },
    newBook: (owner) => new ListBook(owner),
    steKind: steKindWithoutSafeBits,
    releasedBy: "detach",
    staticDomains: false,
    newPaging: (context, smmu, type) => new PagingDomain61(context, smmu, type),
  },
  "linux-6.12": {
    prepareAts: writeStu,
    newBook: (owner) => new ListBook(owner),
    steKind: steKindWithoutSafeBits,
    releasedBy: "driver",
    staticDomains: true,
    newPaging: (context, smmu, type) => new PagingDomain(context, smmu, type),
  },
  "linux-7.2": {
    prepareAts,
    newBook: (owner) => new ArrayBook(owner),
    steKind,
    releasedBy: "core",
    staticDomains: true,
    newPaging: (context, smmu, type) => new PagingDomain(context, smmu, type),
  },
};
