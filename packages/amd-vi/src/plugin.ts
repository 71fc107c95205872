import type { Op, PlatformHost, Plugin, Token } from "@iommu-lab/core";
import {
  BOOT,
  CLOCK,
  IOMMU_CORE,
  InputError,
  KERNEL,
  MEMORY,
  MMIO,
  SCHEDULER,
  TRACE,
  strategyOf,
  token,
} from "@iommu-lab/core";
import { type CachePolicy, FABRIC, PCI_BUS, type Rid, TOPOLOGY, atsPolicyInSlot } from "@iommu-lab/pci";
import { parseCommandLine } from "./driver/command-line.ts";
import { AmdIommuDriver } from "./driver/driver.ts";
import { EventThread } from "./driver/event-thread.ts";
import { initUnits } from "./driver/init.ts";
import type { CommandFilter } from "./driver/invalidation-site.ts";
import { DriverState } from "./driver/state.ts";
import { amdVersions } from "./driver/version.ts";
import type { DeviceAlias, DeviceRange, DeviceSetting, FirmwareDescription, UnityMap } from "./firmware/description.ts";
import { inRange } from "./firmware/description.ts";
import type { MachineToDescribe } from "./firmware/ivrs-build.ts";
import { buildIvrs } from "./firmware/ivrs-build.ts";
import { encodeIvrs } from "./firmware/ivrs-encode.ts";
import { decodeIvrs } from "./firmware/ivrs.ts";
import { linuxIvrs } from "./firmware/linux-view.ts";
import { AmdIommu } from "./hardware/amd-iommu.ts";
import type { CachePolicies } from "./hardware/cache-policy.ts";
import type { OpenPoints } from "./hardware/open-points.ts";
import { defaultOpenPoints } from "./hardware/open-points.ts";
import type { FeatureOptions } from "./layout/features.ts";
import { encodeFeatures } from "./layout/features.ts";
import { CAP_EFR_SUP, CAP_IOTLB_SUP, CAP_NP_CACHE, WINDOW_BYTES, WINDOW_BYTES_COUNTERS } from "./layout/registers.ts";
import { amdWithAnyTranslation } from "./policy.ts";

/** The units of a platform, in the order of the options of {@link amdvi}. */
export const AMD_IOMMUS: Token<readonly AmdIommu[]> = token("amd-vi.units");
/** Name of the kernel profile's slot that replaces the ATS policy. */
export const AMD_ATS_SLOT = "ats:amd-vi";
/** Where firmware has put the IVRS. */
const IVRS: Token<{ readonly address: number; readonly length: number }> = token("amd-vi.ivrs");

/** What a machine with AMD-Vi has. Features by name count only without `efr`. */
export interface AmdViOptions extends FeatureOptions {
  /** EFR as recorded, instead of features by name. */
  readonly efr?: bigint;
  /** EFR2 as recorded. Default 0. */
  readonly efr2?: bigint;
  /** EFR in the firmware table when it differs from the register; it counts. */
  readonly ivhdEfr?: bigint;
  /** Physical address of the registers, a multiple of 16 KiB. Default 0xfd200000. */
  readonly base?: number;
  /** Device ID of the unit itself. Default 0x0002 (00:00.2). */
  readonly deviceId?: Rid;
  /** IVHD flags: 0 HtTunEn, 1 PassPW, 2 ResPassPW, 3 Isoc. Default 0x30. */
  readonly ivhdFlags?: number;
  /** IotlbSup of the capability header. Default true. */
  readonly iotlbSup?: boolean;
  /** NpCache of the capability header, as hypervisors set it; the kernel is then strict. Default false. */
  readonly npCache?: boolean;
  /** Devices the unit serves. Default all. */
  readonly devices?: readonly DeviceRange[];
  /** Memory that firmware wants devices to reach 1:1 (IVMD). */
  readonly unityMaps?: readonly UnityMap[];
  /** Setting bytes of IVHD device entries. */
  readonly settings?: readonly DeviceSetting[];
  /** Devices whose requests carry another device's ID, as firmware knows them. */
  readonly aliases?: readonly DeviceAlias[];
  /**
   * The firmware table as dumped, instead of one that tells of these options; that of the first unit counts. The wiring
   * (`base`, `devices`) stays as the options say, right or wrong.
   */
  readonly ivrs?: Uint8Array;
  /** Which results the unit keeps; one policy for all caches or one for each. Default `keep-all`. */
  readonly caches?: CachePolicy | CachePolicies;
  /** Choices where sources disagree. */
  readonly open?: Partial<OpenPoints>;
}

const PAGE = 4096;
const EVERY_DEVICE: readonly DeviceRange[] = [{ first: 0, last: 0xffff }];
const DEFAULT_BASE = 0xfd200000;
const DEFAULT_DEVICE = 0x0002;
const DEFAULT_FLAGS = 0x30;
const CAPABILITY_OFFSET = 0x40;
const SUBORDINATE_BUS = 0x1a;

/** One unit as silicon and as firmware sees it. */
interface UnitPlan {
  readonly name: string;
  readonly options: AmdViOptions;
  readonly base: number;
  readonly efr: bigint;
  readonly efr2: bigint;
  readonly devices: readonly DeviceRange[];
}

function plan(options: AmdViOptions, index: number): UnitPlan {
  const base = options.base ?? DEFAULT_BASE + index * WINDOW_BYTES_COUNTERS;
  if (!Number.isInteger(base) || base < 0 || base % WINDOW_BYTES !== 0) {
    throw new InputError(`AMD-Vi: base 0x${base.toString(16)}: expected a multiple of 0x${WINDOW_BYTES.toString(16)}`);
  }
  return {
    name: `ivhd${index}`,
    options,
    base,
    efr: options.efr ?? encodeFeatures(options),
    efr2: options.efr2 ?? 0n,
    devices: options.devices ?? EVERY_DEVICE,
  };
}

/**
 * AMD-Vi hardware, and Linux's driver for it. The default unit has GT, PPR, GIoSup and EPHSup, without which Linux 7.2
 * enables no ATS.
 *
 * @param options the unit
 * @param more further units, each with `devices` of its own
 * @throws InputError for numbers out of range
 * @example
 * ```ts
 * const platform = createPlatform({ kernel: linux("7.2"), plugins: [pci(topology), amdvi({ pasidBits: 16 })] });
 * ```
 */
export function amdvi(options: AmdViOptions = {}, ...more: readonly AmdViOptions[]): Plugin {
  return amdviFiltered([options, ...more]);
}

/**
 * {@link amdvi} whose driver sends only part of its invalidations.
 *
 * @param units one for each unit
 * @param filter which invalidations are queued; absent = all
 */
export function amdviFiltered(units: readonly AmdViOptions[], filter?: CommandFilter): Plugin {
  const plans = units.map((one, index) => plan(one, index));
  return {
    name: "amd-vi",
    register(host) {
      host.provide(AMD_IOMMUS, () => powerOn(host, plans));
      host.add(BOOT, {
        name: "amd-vi power on",
        order: 100,
        // oxlint-disable-next-line require-yield
        *run() {
          host.get(AMD_IOMMUS);
        },
      });
      host.provide(IVRS, () => placeIvrs(host, plans));
      host.add(BOOT, {
        name: "amd-vi firmware",
        order: 110,
        // oxlint-disable-next-line require-yield
        *run() {
          host.get(IVRS);
        },
      });
      host.add(BOOT, {
        name: "amd_iommu_detect",
        order: 120,
        // oxlint-disable-next-line require-yield
        *run() {
          if (!parseCommandLine(host.get(KERNEL)).off) {
            host.get(PCI_BUS).requestAcs();
          }
        },
      });
      host.add(BOOT, { name: "amd-iommu", order: 300, run: () => boot(host, plans, filter) });
    },
  };
}

/** Places the registers of all units, and puts the units between root complex and memory. */
function powerOn(host: PlatformHost, plans: readonly UnitPlan[]): readonly AmdIommu[] {
  const scheduler = host.get(SCHEDULER);
  const root = host.get(FABRIC);
  const [memory, mmio, trace, clock] = [host.get(MEMORY), host.get(MMIO), host.get(TRACE), host.get(CLOCK)];
  return plans.map(({ name, options, base, efr, efr2, devices }) => {
    const thread = new EventThread(name, base, memory, mmio);
    const unit = new AmdIommu(
      {
        name,
        efr,
        efr2,
        iotlbSup: options.iotlbSup ?? true,
        npCache: options.npCache ?? false,
        caches: options.caches ?? "keep-all",
        open: { ...defaultOpenPoints, ...options.open },
      },
      { memory, clock, trace, root, interrupt: thread },
    );
    mmio.map(base, unit.features.counters ? WINDOW_BYTES_COUNTERS : WINDOW_BYTES, unit);
    root.attachIommu(unit, (rid) => devices.some((range) => inRange(range, rid)));
    for (const engine of [...unit.engines, thread]) {
      scheduler.addEngine(engine);
    }
    return unit;
  });
}

/** The largest device ID that firmware would name on this machine. */
function lastDeviceId(host: PlatformHost): Rid {
  const topology = host.get(TOPOLOGY);
  const own = [...topology.ports, ...topology.endpoints].map(({ rid }) => rid >>> 8);
  const below = topology.ports.map(({ config }) => config.read8(SUBORDINATE_BUS));
  return (Math.max(0, ...own, ...below) << 8) | 0xff;
}

/** Writes the firmware table into memory. */
function placeIvrs(host: PlatformHost, plans: readonly UnitPlan[]): { address: number; length: number } {
  const memory = host.get(MEMORY);
  const [first] = plans;
  const bytes = first?.options.ivrs ?? encodeIvrs(buildIvrs(machineOf(host, plans)));
  const address = memory.allocate(bytes.length, PAGE, "firmware", "IVRS");
  memory.writeBytes(address, bytes);
  return { address, length: bytes.length };
}

function machineOf(host: PlatformHost, plans: readonly UnitPlan[]): MachineToDescribe {
  return {
    units: plans.map(({ options, base, efr, efr2, devices }) => ({
      base,
      deviceId: options.deviceId ?? DEFAULT_DEVICE,
      flags: options.ivhdFlags ?? DEFAULT_FLAGS,
      efr: options.ivhdEfr ?? efr,
      efr2,
      capabilityOffset: CAPABILITY_OFFSET,
      devices,
    })),
    settings: plans.flatMap(({ options }) => options.settings ?? []),
    aliases: plans.flatMap(({ options }) => options.aliases ?? []),
    unityMaps: plans.flatMap(({ options }) => options.unityMaps ?? []),
    lastDeviceId: lastDeviceId(host),
  };
}

/** Capability header of the unit with a device ID; 0 = there is none. */
function capabilityOf(plans: readonly UnitPlan[], deviceId: Rid): number {
  const found = plans.find(({ options }) => (options.deviceId ?? DEFAULT_DEVICE) === deviceId);
  if (found === undefined) {
    return 0;
  }
  const { iotlbSup = true, npCache = false } = found.options;
  return CAP_EFR_SUP | (iotlbSup ? CAP_IOTLB_SUP : 0) | (npCache ? CAP_NP_CACHE : 0);
}

/** What the kernel reads in the firmware table; undefined = it does without IOMMU. */
function readFirmware(host: PlatformHost, plans: readonly UnitPlan[]): FirmwareDescription | undefined {
  const { address, length } = host.get(IVRS);
  const table = decodeIvrs(host.get(MEMORY).readBytes(address, length), "IVRS");
  const view = linuxIvrs(table, ({ deviceId }) => capabilityOf(plans, deviceId));
  const trace = host.get(TRACE);
  for (const what of [...table.warnings, view.refusal].filter((text) => text !== "" && trace.active)) {
    trace.emit("warn", { where: "amd_iommu_detect", what: `IVRS: ${what}` });
  }
  return view.refusal === "" ? view : undefined;
}

function* boot(host: PlatformHost, plans: readonly UnitPlan[], filter: CommandFilter | undefined): Op<void> {
  const kernel = host.get(KERNEL);
  const version = strategyOf(kernel, amdVersions, "amd-vi");
  const commandLine = parseCommandLine(kernel);
  const policy = atsPolicyInSlot(kernel, AMD_ATS_SLOT) ?? amdWithAnyTranslation;
  const firmware = commandLine.off ? undefined : readFirmware(host, plans);
  if (firmware === undefined) {
    return;
  }
  if (version.attach === "6.1" && commandLine.pageTable === "v2") {
    throw new InputError(
      "amd_iommu=pgtbl_v2: guest tables of Linux 6.1 are not modelled; leave it out, or take 6.12 or 7.2",
    );
  }
  const state = new DriverState({
    ports: { memory: host.get(MEMORY), mmio: host.get(MMIO), trace: host.get(TRACE), filter },
    core: host.get(IOMMU_CORE),
    version,
    commandLine,
    firmware,
    policy,
  });
  yield* initUnits(state, () => new AmdIommuDriver(state));
}
