import type { IommuCore, Op } from "@iommu-lab/core";
import { KernelError, strategyOf } from "@iommu-lab/core";
import { GLOBAL_TE, GSTS } from "../layout/registers.ts";
import { atsPolicyOf } from "../policy/ats-policies.ts";
import { decodeDmar } from "../firmware/dmar.ts";
import { intelIommuWords } from "./command-line.ts";
import { ContextTables } from "./context-tables.ts";
import { DmarView } from "./dmar-view.ts";
import { IntelIommuDriver } from "./driver.ts";
import type { DescriptorFilter } from "./invalidation-site.ts";
import type { FaultInterrupt } from "./fault-interrupt.ts";
import { enableTranslation, initUnits } from "./init-units.ts";
import { QueuedInvalidation } from "./queued-invalidation.ts";
import type { ServedUnit } from "./served-unit.ts";
import { TableWriter } from "./table-writer.ts";
import type { UnitPorts } from "./unit.ts";
import { IntelIommu } from "./unit.ts";
import { vtdVersions } from "./version.ts";

/** What firmware tells of a unit, and how its interrupts reach the CPU. */
interface UnitDescription {
  /** Such as `dmar0`. */
  readonly name: string;
  /** Physical address of its registers. */
  readonly base: number;
  /** Whether it serves a requester ID of those that the DMAR gives it. */
  readonly serves: (rid: number) => boolean;
  readonly interrupt: FaultInterrupt;
}

/** What the driver boots with. */
export interface BootParts extends UnitPorts {
  readonly core: IommuCore;
  readonly units: readonly UnitDescription[];
  /** Where firmware has put the DMAR. */
  readonly dmar: { readonly address: number; readonly length: number };
  /** Scalable mode where the hardware has it and the command line says nothing. */
  readonly scalable: boolean;
  /** See {@link QueuedInvalidation}. */
  readonly filter?: DescriptorFilter | undefined;
}

/**
 * Takes over the units, lets the IOMMU core probe all devices, and only then switches translation on: until that moment
 * everything passes untranslated.
 *
 * Source: Linux 7.2 `intel_iommu_init()`.
 */
export function* bootIntelIommu(parts: BootParts): Op<void> {
  const { core } = parts;
  const { address, length } = parts.dmar;
  const firmware = new DmarView(decodeDmar(parts.memory.readBytes(address, length)));
  const version = strategyOf(core.kernel, vtdVersions, "intel-vtd");
  const words = intelIommuWords(core.kernel, parts.scalable);
  const iommus = parts.units.map(({ name, base }) => new IntelIommu(name, base, parts, words.scalable));
  if (!words.enabled) {
    for (const iommu of iommus) {
      if ((iommu.read32(GSTS) & GLOBAL_TE) !== 0) {
        yield* iommu.switch(GLOBAL_TE, false);
      }
    }
    return;
  }
  const units: ServedUnit[] = iommus.map((iommu) => {
    const tables = new TableWriter(iommu);
    const queue = new QueuedInvalidation(
      iommu,
      (rid) => !version.givesUpOnGoneDevice || driver.devicePresent(rid),
      parts.filter,
    );
    return { iommu, queue, tables, contexts: new ContextTables(iommu, tables) };
  });
  const driver = new IntelIommuDriver({
    core,
    version,
    policy: atsPolicyOf(
      core.kernel,
      words.scalable && iommus.every(({ scalable }) => scalable) ? version.policies.scalable : version.policies.legacy,
    ),
    firmware,
    unitOf(dev) {
      const at = firmware.unitBase(dev);
      return units[parts.units.findIndex(({ base, serves }) => base === at && serves(dev.rid))];
    },
    lazy: !words.strict && !iommus.some(strictBecauseVirtual),
  });
  for (const [index, iommu] of iommus.entries()) {
    parts.units[index]?.interrupt.serve(iommu);
  }
  yield* initUnits(units);
  yield* register(parts, driver);
  yield* enableTranslation(units);
}

/** A failing registration leaves the devices without IOMMU; translation is switched on all the same. */
function* register({ core, trace }: BootParts, driver: IntelIommuDriver): Op<void> {
  try {
    yield* core.registerDriver(driver);
  } catch (error) {
    if (!(error instanceof KernelError)) {
      throw error;
    }
    if (trace.active) {
      trace.emit("warn", { where: "intel_iommu_init", what: `iommu_device_register(): ${error.message}` });
    }
  }
}

/** A virtual unit with second-stage tables: batching its flushes does not pay. */
function strictBecauseVirtual({ caps, scalable }: IntelIommu): boolean {
  return caps.cm && !(scalable && caps.fsts);
}
