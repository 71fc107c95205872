import {
  type Device,
  type Domain,
  type IommuDriver,
  type Op,
  type Words,
  KernelError,
  getField,
} from "@iommu-lab/core";
import { pciDisableAts } from "@iommu-lab/pci";
import { cmdCfgiSte, cmdPrefetchConfig } from "../layout/command.ts";
import {
  EATS,
  S1_DSS,
  SH_CFG_INCOMING,
  STE,
  STE_CONFIG,
  describeSte,
  encodeSte,
} from "../layout/stream-table-entry.ts";
import { atsStateOf, decideAts } from "./ats-decision.ts";
import { enableAts } from "./attach.ts";
import { CdTable } from "./cd-table.ts";
import { PagingDomain } from "./domains.ts";
import type { DriverContext } from "./driver-context.ts";
import { atcInvMaster } from "./invalidate.ts";
import type { Master } from "./master.ts";
import type { SmmuDevice } from "./smmu-device.ts";
import { makeCdTableSte } from "./stream-entry.ts";

/** An STE without translation; its attributes come as they are, whether the SMMU can override them or not. */
function plainSte(config: number): Words {
  return encodeSte({ v: 1, config, shCfg: SH_CFG_INCOMING });
}

/**
 * Rewrites a function's STEs: one that does not translate word after word and one sync; one that translates everything but
 * its first word, a sync, then that word and another sync. The old STE never translates at that time.
 *
 * Source: Linux 6.1 `arm_smmu_write_strtab_ent()`, `arm_smmu_install_ste_for_dev()`.
 */
function* installSte(master: Master, target: Words): Op<void> {
  const { smmu, streams } = master;
  const { tables, commands } = smmu;
  master.steAtsEnabled = getField(target, STE.eats) === EATS.full;
  for (const sid of streams) {
    const place = smmu.streamTable.entry(sid);
    const sync = (): Op<boolean> => commands.invalidate("write-ste", [cmdCfgiSte(sid, true)]);
    if (getField(target, STE.config) !== STE_CONFIG.stage1) {
      yield* tables.store(place, target, 0, 3, describeSte);
      yield* sync();
      continue;
    }
    yield* tables.store(place, target, 1, 1, describeSte);
    yield* sync();
    yield* tables.store(place, target, 0, 1, describeSte);
    yield* sync();
    yield* commands.issue([cmdPrefetchConfig(sid)], false);
  }
}

/**
 * Takes a function off its domain: ATS goes off, the ATC is emptied, the STE aborts.
 *
 * Source: Linux 6.1 `arm_smmu_detach_dev()`, `arm_smmu_disable_ats()`.
 */
export function* detachDevice(master: Master): Op<void> {
  const { attached } = master;
  if (attached === undefined) {
    return;
  }
  const atsWasEnabled = master.atsEnabled;
  if (atsWasEnabled) {
    yield* pciDisableAts(master.pci);
    yield* atcInvMaster(master, 0, "detach:atc");
  }
  if (attached instanceof PagingDomain61) {
    yield* attached.removeUser(master, 0, atsWasEnabled);
  }
  master.attached = undefined;
  master.atsEnabled = false;
  yield* installSte(master, plainSte(STE_CONFIG.abort));
}

/** An IDENTITY domain of its own for each group. Source: Linux 6.1 `arm_smmu_domain_alloc()`, stage "bypass". */
export class IdentityDomain61 implements Domain {
  readonly id: number;
  readonly type = "IDENTITY";
  readonly driver: IommuDriver;
  readonly #context: DriverContext;

  constructor(context: DriverContext) {
    this.id = context.newDomainId();
    this.driver = context.driver;
    this.#context = context;
  }

  /** Source: Linux 6.1 `arm_smmu_attach_dev()`. */
  *attach(device: Device): Op<void> {
    const master = this.#context.masterOf(device);
    yield* detachDevice(master);
    decideAts(master, this.#context.policy, "rid-attach", atsStateOf(master, "IDENTITY", 0));
    master.attached = this;
    yield* installSte(master, plainSte(STE_CONFIG.bypass));
  }
}

/**
 * A paging domain that has a table of context descriptors of its own: all its functions share it, so they have to have the
 * same number of PASIDs. An attach takes the function off its old domain first, so that a failing one leaves it blocked.
 *
 * The TLB tag is taken when the domain is made; the kernel takes it with the first attach.
 */
export class PagingDomain61 extends PagingDomain {
  readonly #context: DriverContext;
  #cdTable: CdTable | undefined;
  /** log2 of the PASIDs of its functions (`s1cdmax`). */
  #ssidBits = 0;

  constructor(context: DriverContext, smmu: SmmuDevice, type: "DMA" | "DMA-FQ" | "UNMANAGED") {
    super(context, smmu, type);
    this.#context = context;
  }

  /**
   * Source: Linux 6.1 `arm_smmu_attach_dev()`.
   *
   * @throws KernelError ENXIO for a domain of another SMMU, EINVAL for a function with another number of PASIDs; the
   * function is then blocked
   */
  override *attach(device: Device): Op<void> {
    const { policy } = this.#context;
    const master = this.#context.masterOf(device);
    yield* detachDevice(master);
    if (this.smmu !== master.smmu) {
      throw new KernelError("ENXIO", `the domain belongs to another SMMU than ${device.name}`);
    }
    const table = this.#cdTable ?? (yield* this.#finalise(master));
    if (master.ssidBits !== this.#ssidBits) {
      throw new KernelError("EINVAL", `${device.name} has 2^${master.ssidBits} PASIDs, the domain 2^${this.#ssidBits}`);
    }
    const ats = decideAts(master, policy, "rid-attach", atsStateOf(master, this.type, 0));
    master.attached = this;
    master.atsEnabled = ats;
    yield* installSte(master, makeCdTableSte(this.smmu.features, table, master.stalls, ats, S1_DSS.ssid0));
    this.addUser(master, 0, ats);
    if (ats) {
      yield* enableAts(master, this.users);
    }
  }

  override free(): void {
    this.#cdTable?.free();
    super.free();
  }

  /** Source: Linux 6.1 `arm_smmu_domain_finalise_s1()`. No function is on the domain yet, so nothing is invalidated. */
  *#finalise(master: Master): Op<CdTable> {
    const { users } = this;
    const table = new CdTable({
      name: `domain ${this.id}`,
      rid: master.pci.rid,
      smmu: this.smmu,
      get streams() {
        return users.flatMap((user) => user.master.streams);
      },
    });
    table.allocate(master.ssidBits);
    this.#cdTable = table;
    this.#ssidBits = master.ssidBits;
    const place = yield* table.obtain(0);
    yield* table.write(0, place, this.descriptor(master.stalls));
    return table;
  }
}
