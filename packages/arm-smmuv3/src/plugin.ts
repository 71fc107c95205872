import type { PlatformHost, Plugin, Token } from "@iommu-lab/core";
import {
  BOOT,
  CLOCK,
  InputError,
  IOMMU_CORE,
  KERNEL,
  strategyOf,
  MEMORY,
  MMIO,
  SCHEDULER,
  TRACE,
  preempt,
  token,
} from "@iommu-lab/core";
import { type CachePolicy, FABRIC, PCI_BUS } from "@iommu-lab/pci";
import { atsPolicyOf } from "./ats-policy.ts";
import { ArmSmmuV3Driver } from "./driver/driver.ts";
import type { CommandFilter } from "./driver/invalidation-site.ts";
import { driverVersions } from "./driver/version.ts";
import { interruptHandlers } from "./driver/interrupts.ts";
import type { SmmuFirmwareView } from "./firmware/firmware-view.ts";
import {
  type MachineOptions,
  type PlacedSmmu,
  iortBytes,
  isServed,
  leaveFirmware,
  placeSmmus,
  ridOf,
  streamIdOf,
} from "./machine.ts";
import type { CachePolicies } from "./hardware/cache-policy.ts";
import { Smmu } from "./hardware/smmu.ts";
import type { InterruptLines } from "./interrupt-line.ts";
import { interruptLines } from "./interrupt-line.ts";
import { addressSizeCode } from "./layout/address-size.ts";
import {
  HTTU,
  type IdRegisters,
  STALL_MODEL,
  TTF_AARCH64,
  TT_ENDIAN,
  encodeIdr0,
  encodeIdr1,
  encodeIdr3,
  encodeIdr5,
} from "./layout/id-registers.ts";
import { REGISTER_WINDOW_BYTES } from "./layout/registers.ts";

/** Options of {@link smmuv3}. All have defaults. */
export interface Smmuv3Options extends MachineOptions {
  /** IDR0.ATS. Default true. */
  readonly ats?: boolean;
  /** IDR0.PRI. Default true. */
  readonly pri?: boolean;
  /** IDR1.SSIDSIZE: PASID bits, 0 … 20. Default 20. */
  readonly ssidBits?: number;
  /** IDR1.SIDSIZE: StreamID bits; a StreamID is a requester ID. Default 16. */
  readonly sidBits?: number;
  /** IDR1.ATTR_TYPES_OVR. Default false. */
  readonly attributeOverride?: boolean;
  /** IDR0.HYP, with the kernel at EL2 (VHE): it then uses the EL2-E2H regime. Default false. */
  readonly el2?: boolean;
  /** IDR0.STALL_MODEL = 0: platform devices may stall; PCI functions never do. Default false. */
  readonly stall?: boolean;
  /** IDR0.BTM: TLB maintenance of CPUs is broadcast to it, unless CR2.PTM is set. Default false. */
  readonly broadcast?: boolean;
  /** IDR3.RIL: TLB invalidation by range. Default true. */
  readonly rangeInvalidation?: boolean;
  /** IDR0.HTTU: 0 none, 1 access flag, 2 access flag and dirty state. Default 0. */
  readonly httu?: 0 | 1 | 2;
  /** IDR5.OAS in bits: 32, 36, 40, 42, 44, 48 or 52. Default 48. */
  readonly oas?: number;
  /** Raw ID registers, as recorded; each replaces what the options above say about it. */
  readonly idr?: Partial<IdRegisters>;
  /** What it keeps of tables, in all caches or in each. Default `keep-all`. */
  readonly caches?: CachePolicy | CachePolicies;
  /** ns after which an Invalidate Request is given up. Default 60 s, as PCIe asks for. */
  readonly atcTimeout?: number;
}

/** PCIe 6.1 §10.3.1: 60 s. */
const DEFAULT_ATC_TIMEOUT = 60_000_000_000;
const QUEUE_BITS = 16;

function flag(value: boolean | undefined, otherwise: boolean): number {
  return (value ?? otherwise) ? 1 : 0;
}

function checkBits(name: string, value: number, largest: number): void {
  if (!Number.isInteger(value) || value < 0 || value > largest) {
    throw new InputError(`smmuv3: ${name} is ${value}, expected 0 to ${largest}`);
  }
}

/**
 * The ID registers that options stand for.
 *
 * @throws InputError for a size that the registers cannot hold
 */
export function idRegistersOf(options: Smmuv3Options): IdRegisters {
  const ssidBits = options.ssidBits ?? 20;
  const sidBits = options.sidBits ?? 16;
  const oas = options.oas ?? 48;
  checkBits("ssidBits", ssidBits, 20);
  checkBits("sidBits", sidBits, 32);
  if (![32, 36, 40, 42, 44, 48, 52].includes(oas)) {
    throw new InputError(`smmuv3: oas is ${oas}, expected 32, 36, 40, 42, 44, 48 or 52`);
  }
  const named: IdRegisters = {
    idr0: encodeIdr0({
      s1p: 1,
      s2p: 1,
      ttf: TTF_AARCH64,
      cohacc: 1,
      btm: flag(options.broadcast, false),
      httu: options.httu ?? HTTU.none,
      hyp: flag(options.el2, false),
      ats: flag(options.ats, true),
      asid16: 1,
      pri: flag(options.pri, true),
      vmid16: 1,
      cd2l: 1,
      ttEndian: TT_ENDIAN.little,
      stallModel: (options.stall ?? false) ? STALL_MODEL.stallOrTerminate : STALL_MODEL.terminate,
      termModel: 1,
      stLevel: 1,
    }),
    idr1: encodeIdr1({
      sidSize: sidBits,
      ssidSize: ssidBits,
      cmdQs: QUEUE_BITS,
      eventQs: QUEUE_BITS,
      priQs: QUEUE_BITS,
      attrTypesOvr: flag(options.attributeOverride, false),
    }),
    idr3: encodeIdr3({ had: 1, xnx: 1, ril: flag(options.rangeInvalidation, true), bbml: 2 }),
    idr5: encodeIdr5({ oas: addressSizeCode(oas), gran4K: 1, gran16K: 1, gran64K: 1 }),
  };
  return { ...named, ...options.idr };
}

/** The SMMUs as silicon, in the order of the options. */
export const SMMUV3_INSTANCES: Token<readonly Smmu[]> = token("arm-smmuv3.instances");
/** The first SMMU as silicon. */
export const SMMUV3_HARDWARE: Token<Smmu> = token("arm-smmuv3.hardware");
/** Linux's driver for all of them. */
export const SMMUV3_DRIVER: Token<ArmSmmuV3Driver> = token("arm-smmuv3.driver");
const LINES: Token<readonly InterruptLines[]> = token("arm-smmuv3.interrupts");
const FIRMWARE: Token<() => SmmuFirmwareView> = token("arm-smmuv3.firmware");

function buildHardware(host: PlatformHost, options: Smmuv3Options, places: readonly PlacedSmmu[]): readonly Smmu[] {
  const fabric = host.get(FABRIC);
  const scheduler = host.get(SCHEDULER);
  return places.map((place, index) => {
    const lines = host.get(LINES)[index] ?? interruptLines(place.name);
    const smmu = new Smmu(
      {
        name: place.name,
        id: idRegistersOf(options),
        atcTimeout: options.atcTimeout ?? DEFAULT_ATC_TIMEOUT,
        caches: options.caches ?? "keep-all",
        streamIdOf: (rid) => streamIdOf(place, rid),
        ridOf: (sid) => ridOf(place, sid),
      },
      { memory: host.get(MEMORY), clock: host.get(CLOCK), trace: host.get(TRACE), root: fabric, interrupts: lines },
    );
    for (const engine of smmu.engines) {
      scheduler.addEngine(engine);
    }
    host.get(MMIO).map(place.base, REGISTER_WINDOW_BYTES, smmu);
    fabric.attachIommu(smmu, (rid) => isServed(place, rid));
    return smmu;
  });
}

function buildDriver(
  host: PlatformHost,
  options: Smmuv3Options,
  places: readonly PlacedSmmu[],
  filter: CommandFilter | undefined,
): ArmSmmuV3Driver {
  const version = strategyOf(host.get(KERNEL), driverVersions, "arm-smmuv3");
  const driver = new ArmSmmuV3Driver(
    {
      readFirmware: host.get(FIRMWARE),
      nameOf: (index) => places[index]?.name ?? `smmu${index}`,
      vhe: options.el2 ?? true,
      preservesConfig: options.preservesConfig ?? true,
    },
    {
      memory: host.get(MEMORY),
      mmio: host.get(MMIO),
      trace: host.get(TRACE),
      core: host.get(IOMMU_CORE),
      version,
      filter,
    },
    atsPolicyOf(host.get(KERNEL)),
  );
  const scheduler = host.get(SCHEDULER);
  for (const [index, lines] of host.get(LINES).entries()) {
    for (const handler of interruptHandlers(lines, () => driver.smmus[index])) {
      scheduler.addEngine(handler);
    }
  }
  return driver;
}

/**
 * An Arm SMMUv3 between the PCI fabric and memory, and Linux's driver for it.
 *
 * @throws InputError for options that no SMMU can have
 * @example
 * ```ts
 * const platform = createPlatform({ kernel: linux("7.2"), plugins: [pci(topology), smmuv3({ ats: true, ssidBits: 20 })] });
 * platform.boot();
 * ```
 */
export function smmuv3(options: Smmuv3Options = {}): Plugin {
  return smmuv3Filtered(options, undefined);
}

/**
 * The same with a driver that loses invalidations.
 *
 * @param filter what of each list of invalidations is sent
 */
export function smmuv3Filtered(options: Smmuv3Options, filter: CommandFilter | undefined): Plugin {
  const id = idRegistersOf(options);
  const places = placeSmmus(options.instances ?? [{}]);
  const table = iortBytes(options, places, id);
  return {
    name: "arm-smmuv3",
    register(host) {
      host.provide(LINES, () => places.map(({ name }) => interruptLines(name)));
      host.provide(SMMUV3_INSTANCES, () => buildHardware(host, options, places));
      host.provide(SMMUV3_HARDWARE, () => firstOf(host.get(SMMUV3_INSTANCES)));
      host.provide(FIRMWARE, () => leaveFirmware(host, options, places, table, id));
      host.provide(SMMUV3_DRIVER, () => buildDriver(host, options, places, filter));
      host.add(BOOT, {
        name: "smmu power-on",
        order: 50,
        *run() {
          yield preempt;
          host.get(SMMUV3_INSTANCES);
          host.get(FIRMWARE);
        },
      });
      host.add(BOOT, {
        name: "iort",
        order: 150,
        *run() {
          yield preempt;
          if (host.get(FIRMWARE)().asksForAcs) {
            host.get(PCI_BUS).requestAcs();
          }
        },
      });
      host.add(BOOT, { name: "arm-smmu-v3", order: 300, run: () => host.get(SMMUV3_DRIVER).start() });
    },
  };
}

function firstOf(smmus: readonly Smmu[]): Smmu {
  const [first] = smmus;
  if (first === undefined) {
    throw new Error("no SMMU was placed");
  }
  return first;
}
