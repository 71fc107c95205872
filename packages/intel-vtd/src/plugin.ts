import type { PlatformHost, Plugin, Token } from "@iommu-lab/core";
import { BOOT, CLOCK, IOMMU_CORE, InputError, KERNEL, MEMORY, MMIO, SCHEDULER, TRACE, token } from "@iommu-lab/core";
import { type CachePolicy, FABRIC, PCI_BUS } from "@iommu-lab/pci";
import { bootIntelIommu } from "./driver/boot.ts";
import { intelIommuWords } from "./driver/command-line.ts";
import { FaultInterrupt } from "./driver/fault-interrupt.ts";
import type { FirmwareOptions, IntegratedAtc, ReservedMemory } from "./firmware/dmar-build.ts";
import { buildDmar } from "./firmware/dmar-build.ts";
import type { DescriptorFilter } from "./driver/invalidation-site.ts";
import type { CachePolicies } from "./hardware/cache-policy.ts";
import type { VtdUnitOptions } from "./hardware/vtd-unit.ts";
import { VtdUnit } from "./hardware/vtd-unit.ts";
import type { RawRegister, VtdFeatures } from "./unit-registers.ts";
import { DEFAULT_FEATURES, capOf, ecapOf, rawCap, rawEcap } from "./unit-registers.ts";

/** The remapping unit of a platform. */
export const VTD_UNIT: Token<VtdUnit> = token("intel-vtd.unit");

/** Where firmware has put the DMAR. */
const DMAR: Token<{ readonly address: number; readonly length: number }> = token("intel-vtd.dmar");

const REGISTER_BYTES = 4096;
/** 60 s that PCIe gives a device, and half of it more. */
const INVALIDATION_TIMEOUT = 90_000_000_000;

/** Options of {@link vtd}: features by name, or the registers of a real machine. */
export interface VtdOptions extends Partial<Omit<VtdFeatures, "scalable">> {
  /**
   * `legacy`: a unit without scalable mode. `scalable` (default): a unit with it, which the kernel uses unless
   * `intel_iommu=sm_off` is on its command line.
   */
  readonly mode?: "legacy" | "scalable";
  /** CAP as dumped; features that the model does not have read 0. */
  readonly cap?: RawRegister;
  /** ECAP as dumped; features that the model does not have read 0. */
  readonly ecap?: RawRegister;
  /** Physical address of the registers. Default 0xfed90000; a multiple of 4 KiB. */
  readonly base?: number;
  /** Printed name. Default `dmar0`. */
  readonly name?: string;
  /** Host address width in bits, 39 … 52. Default 48. */
  readonly hostAddressWidth?: number;
  /** ns after which a device-TLB invalidation is given up. Default 90 s. */
  readonly invalidationTimeout?: number;
  /** What the unit remembers. Default `keep-all`. */
  readonly caches?: CachePolicy | CachePolicies;
  /** Which root ports firmware lists for ATS: all, none, or by path such as `00:1c.0`. Default `all-ports`. */
  readonly atsr?: FirmwareOptions["atsr"];
  /** Integrated functions with an ATC, one SATC each. Default none. */
  readonly satc?: readonly IntegratedAtc[];
  /** Memory that functions must reach 1:1, one RMRR each. Default none. */
  readonly rmrr?: readonly ReservedMemory[];
  /**
   * The firmware table as dumped, instead of one that tells of these options. The wiring (`base`, `serves`) stays as the
   * options say, right or wrong.
   */
  readonly dmar?: Uint8Array;
  /** Which requester IDs the unit serves. Default all. */
  readonly serves?: (rid: number) => boolean;
}

/**
 * Intel VT-d: one remapping unit, and Linux's driver for it.
 *
 * @throws InputError for options that no machine has
 * @example
 * ```ts
 * const platform = createPlatform({ kernel: linux("7.2"), plugins: [pci(topology), vtd({ mode: "scalable" })] });
 * ```
 */
export function vtd(options: VtdOptions = {}): Plugin {
  return vtdFiltered(options);
}

/**
 * {@link vtd} whose driver sends only part of its invalidations.
 *
 * @param filter what of each list of invalidations is sent
 */
export function vtdFiltered(options: VtdOptions, filter?: DescriptorFilter): Plugin {
  const mode = options.mode ?? "scalable";
  const base = options.base ?? 0xfed90000;
  const serves = options.serves ?? ((): boolean => true);
  const unit = unitOptions(options, mode === "scalable");
  if (!Number.isInteger(base) || base < 0 || base % REGISTER_BYTES !== 0) {
    throw new InputError(`VT-d: the registers must start at a multiple of 4 KiB, not at ${base}`);
  }
  const dmar = options.dmar ?? buildDmar(firmwareOptions(options, base, unit.hostAddressWidth));
  return {
    name: "intel-vtd",
    register(host) {
      const interrupt = new FaultInterrupt(unit.name);
      host.provide(VTD_UNIT, () => powerOn(host, unit, base, serves, interrupt));
      host.add(BOOT, {
        name: "vt-d power on",
        order: 100,
        // eslint-disable-next-line require-yield
        *run() {
          host.get(VTD_UNIT);
        },
      });
      host.provide(DMAR, () => placeDmar(host, dmar));
      host.add(BOOT, {
        name: "vt-d firmware",
        order: 105,
        // eslint-disable-next-line require-yield
        *run() {
          host.get(DMAR);
        },
      });
      host.add(BOOT, {
        name: "detect_intel_iommu",
        order: 110,
        // eslint-disable-next-line require-yield
        *run() {
          if (intelIommuWords(host.get(KERNEL), mode === "scalable").enabled) {
            host.get(PCI_BUS).requestAcs();
          }
        },
      });
      host.add(BOOT, {
        name: "intel-iommu",
        order: 300,
        run: () =>
          bootIntelIommu({
            core: host.get(IOMMU_CORE),
            memory: host.get(MEMORY),
            mmio: host.get(MMIO),
            trace: host.get(TRACE),
            units: [{ name: unit.name, base, serves, interrupt }],
            dmar: host.get(DMAR),
            scalable: mode === "scalable",
            filter,
          }),
      });
    },
  };
}

function firmwareOptions(options: VtdOptions, base: number, hostAddressWidth: number): FirmwareOptions {
  const { atsr = "all-ports", satc = [], rmrr = [] } = options;
  return { hostAddressWidth, base, atsr, satc, rmrr };
}

/** Firmware writes its table into memory. */
function placeDmar(host: PlatformHost, bytes: Uint8Array): { readonly address: number; readonly length: number } {
  const memory = host.get(MEMORY);
  const address = memory.allocate(bytes.length, REGISTER_BYTES, "firmware", "DMAR");
  memory.writeBytes(address, bytes);
  return { address, length: bytes.length };
}

/** Builds the unit, places its registers, and puts it between root complex and memory. */
function powerOn(
  host: PlatformHost,
  options: VtdUnitOptions,
  base: number,
  serves: (rid: number) => boolean,
  interrupts: FaultInterrupt,
): VtdUnit {
  const fabric = host.get(FABRIC);
  const scheduler = host.get(SCHEDULER);
  const unit = new VtdUnit(options, {
    memory: host.get(MEMORY),
    clock: host.get(CLOCK),
    trace: host.get(TRACE),
    root: fabric,
    interrupts,
  });
  host.get(MMIO).map(base, REGISTER_BYTES, unit);
  fabric.attachIommu(unit, serves);
  for (const engine of [...unit.engines, interrupts]) {
    scheduler.addEngine(engine);
  }
  return unit;
}

/** What a unit of these options is. */
export function unitOptions(options: VtdOptions, scalable: boolean): VtdUnitOptions {
  const features: VtdFeatures = { ...DEFAULT_FEATURES, ...named(options), scalable };
  const hostAddressWidth = options.hostAddressWidth ?? 48;
  if (!Number.isInteger(hostAddressWidth) || hostAddressWidth < 39 || hostAddressWidth > 52) {
    throw new InputError(`VT-d: the host address width is 39 to 52 bits, not ${hostAddressWidth}`);
  }
  return {
    name: options.name ?? "dmar0",
    cap: options.cap === undefined ? capOf(features) : rawCap(options.cap),
    ecap: options.ecap === undefined ? ecapOf(features) : rawEcap(options.ecap),
    version: 0x10,
    hostAddressWidth,
    invalidationTimeout: options.invalidationTimeout ?? INVALIDATION_TIMEOUT,
    caches: options.caches ?? "keep-all",
  };
}

/** The features that are named in the options. */
function named(options: VtdOptions): Partial<VtdFeatures> {
  const { firstStage, ats, pri, pasidBits, passThrough, cachingMode, snoopControl } = options;
  const all = { firstStage, ats, pri, pasidBits, passThrough, cachingMode, snoopControl };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}
