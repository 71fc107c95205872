import type { Op } from "@iommu-lab/core";
import { Clock, Trace } from "@iommu-lab/core";
import type { PciFunction } from "../fabric/pci-function.ts";
import { machineName } from "../topology/machine-function.ts";
import type { MachineTree, SegmentTree, TreeFunction } from "../topology/machine-tree.ts";
import { applyDmaAliasQuirks } from "./dma-alias-quirks.ts";
import { type ScanContext, pciAddFunction, scanBus } from "./enumerate.ts";
import { PciDev } from "./pci-dev.ts";
import type { PciPlatform, PciPlatformOptions } from "./pci-platform.ts";
import { pciPlatform } from "./pci-platform.ts";

const INTEL = 0x8086;
/** Volume Management Devices of Intel. Source: Linux 7.2 `vmd_ids[]`. */
const VMD_DEVICES: ReadonlySet<number> = new Set([
  0x201d, 0x28c0, 0x467f, 0x4c3d, 0xa77f, 0x7d0b, 0xad0b, 0x9a0b, 0xb60b, 0xb06f, 0xb07f,
]);
/** Segments of what is behind a VMD are numbered from here. Source: Linux 7.2 `vmd_find_free_domain()`. */
const FIRST_VMD_SEGMENT = 0x1_0000;

/** The functions of a machine as Linux knows them after its scan, without anything that moves. */
export interface ScannedMachine {
  /** In the order in which the kernel finds them. */
  readonly devices: readonly PciDev[];
  /** What the scan passed over or had to assume. */
  readonly warnings: readonly { readonly bdf: string; readonly text: string }[];
}

/** A function that was read in, as config requests find it. */
class StillFunction implements PciFunction {
  readonly rid: number;
  readonly name: string;
  readonly config: TreeFunction["config"];
  readonly #isVirtual: boolean;

  constructor(one: TreeFunction) {
    this.rid = one.rid;
    this.name = one.name;
    this.config = one.config;
    this.#isVirtual = one.physfn !== undefined;
  }

  present(): boolean {
    return true;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    if (this.#isVirtual && offset < 4) {
      return 2 ** (8 * size) - 1;
    }
    if (size === 1) {
      return this.config.read8(offset);
    }
    return size === 2 ? this.config.read16(offset) : this.config.read32(offset);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    this.config.write(offset, size, value);
  }
}

/**
 * Lets the kernel scan a machine that was read in: segment by segment, bus by bus, VFs after all functions. A function that
 * a kernel would not find, although the data show it, is added at the end.
 */
export class MachineScan {
  readonly #tree: MachineTree;
  readonly #platform: PciPlatform;
  readonly #trace = new Trace(new Clock());
  readonly #devices = new Map<string, PciDev>();
  readonly #later = new Set<PciDev>();
  readonly #warnings: { readonly bdf: string; readonly text: string }[] = [];

  constructor(tree: MachineTree, options: PciPlatformOptions) {
    this.#tree = tree;
    this.#platform = pciPlatform({
      ...options,
      neighbour: ({ segment }, rid) => this.#devices.get(machineName({ segment, rid })),
    });
  }

  /** Scans; once. */
  *run(): Op<ScannedMachine> {
    for (const segment of this.#tree.segments) {
      yield* this.#scanSegment(segment);
    }
    for (const dev of this.#devices.values()) {
      dev.multifunction ||= this.#later.has(dev);
      applyDmaAliasQuirks(dev, "final");
    }
    this.#assignVmd();
    return { devices: [...this.#devices.values()], warnings: this.#warnings };
  }

  *#scanSegment(segment: SegmentTree): Op<void> {
    const functions = new Map(segment.functions.map((one) => [one.rid, new StillFunction(one)]));
    const context: ScanContext = {
      functionAt: (rid) => functions.get(rid),
      isExternalFacing: (rid) => segment.functions.some((one) => one.rid === rid && one.externalFacing),
      trace: this.#trace,
      platform: this.#platform,
      segment: segment.segment,
      known: (rid) => this.#devices.get(machineName({ segment: segment.segment, rid })),
      found: (dev, fn) => {
        this.#found(dev, fn);
      },
    };
    for (const bus of segment.rootBuses) {
      yield* scanBus(context, bus, undefined);
    }
    for (const one of segment.functions) {
      if (!this.#devices.has(one.name)) {
        yield* this.#add(one, functions.get(one.rid) ?? new StillFunction(one), context);
      }
    }
  }

  /** A VF, or a function that the scan does not find. */
  *#add(one: TreeFunction, silicon: PciFunction, context: ScanContext): Op<void> {
    const bridge = one.parent === undefined ? undefined : this.#devices.get(one.parent.name);
    const physfn = one.physfn === undefined ? undefined : this.#devices.get(one.physfn.name);
    const dev = new PciDev({
      function: silicon,
      trace: context.trace,
      platform: context.platform,
      segment: context.segment,
      externalFacing: one.externalFacing,
      ...(bridge === undefined ? {} : { bridge }),
      ...(physfn === undefined ? {} : { physfn }),
    });
    yield* pciAddFunction(dev);
    this.#found(dev, physfn === undefined ? one.rid & 7 : 0);
    if (physfn === undefined) {
      this.#warnings.push({ bdf: one.name, text: "a kernel's scan would not find it where it is: added at the end" });
    }
  }

  #found(dev: PciDev, fn: number): void {
    this.#devices.set(dev.name, dev);
    if (fn !== 0) {
      this.#later.add(dev);
    }
  }

  /** What is behind a VMD sends its DMA as the VMD. Source: Linux 7.2 `pci_real_dma_dev()` of x86. */
  #assignVmd(): void {
    const all = [...this.#devices.values()];
    const vmds = all.filter((dev) => dev.vendor === INTEL && VMD_DEVICES.has(dev.device));
    const segments = this.#tree.segments.filter(({ segment }) => segment >= FIRST_VMD_SEGMENT);
    for (const [index, { segment }] of segments.entries()) {
      const vmd = vmds[index];
      const behind = all.filter((dev) => dev.segment === segment);
      for (const dev of behind) {
        dev.realDmaDev = vmd;
      }
      const [first] = behind;
      if (first !== undefined && (vmd === undefined || vmds.length > 1)) {
        const text =
          vmd === undefined
            ? "its VMD is missing: grouped by itself"
            : `several VMDs: segment ${segment.toString(16)} is taken as that of ${vmd.name}`;
        this.#warnings.push({ bdf: first.name, text });
      }
    }
  }
}
