import type { Clock, Digest, Digestible, Engine, MmioRegion, PhysicalMemory, Trace } from "@iommu-lab/core";
import type { IommuHardware, PageRequest, Rid, RootComplex, TranslateResult } from "@iommu-lab/pci";
import type { InterruptLine } from "../interrupt.ts";
import type { Features } from "../layout/features.ts";
import { decodeFeatures } from "../layout/features.ts";
import { CONTROL_BIT } from "../layout/registers.ts";
import type { CachePolicy } from "./cache-policy.ts";
import { CommandProcessor } from "./command-processor.ts";
import { ControlRegister } from "./control-register.ts";
import { DeviceTable } from "./device-table.ts";
import { hostLevels } from "./dte-check.ts";
import { ExclusionRange } from "./exclusion-range.ts";
import { FaultReporter } from "./fault-reporter.ts";
import { IoTlb } from "./io-tlb.ts";
import { LogBuffer } from "./log-buffer.ts";
import type { OpenPoints } from "./open-points.ts";
import { PageRequestPort } from "./page-request-port.ts";
import type { Register64 } from "./register-window.ts";
import { RegisterWindow } from "./register-window.ts";
import { RequestPort } from "./request-port.ts";
import { Resolver } from "./resolver.ts";

/** What a unit is. */
export interface AmdIommuOptions {
  /** Such as `ivhd0`. */
  readonly name: string;
  /** EFR. */
  readonly efr: bigint;
  /** EFR2. */
  readonly efr2: bigint;
  /** IotlbSup of the capability header. */
  readonly iotlbSup: boolean;
  /** NpCache of the capability header: the IOTLB keeps entries that are not present. */
  readonly npCache: boolean;
  /** Which results it keeps. */
  readonly caches: CachePolicy;
  /** Choices where sources disagree. */
  readonly open: OpenPoints;
}

/** What a unit is connected to. */
export interface AmdIommuPorts {
  /** What it reads tables from and writes logs to. */
  readonly memory: PhysicalMemory;
  /** For InvTimeOut. */
  readonly clock: Clock;
  /** Where its faults and completed commands appear. */
  readonly trace: Trace;
  /** Where its messages to devices go. */
  readonly root: RootComplex;
  /** Where its interrupts go. */
  readonly interrupt: InterruptLine;
}

/**
 * One AMD-Vi unit: registers, device table, caches, command buffer, logs, and the judging of requests from bytes in
 * memory.
 *
 * Source: AMD I/O Virtualization Technology (IOMMU) Specification, 48882.
 */
export class AmdIommu implements IommuHardware, MmioRegion, Digestible {
  readonly name: string;
  /** EFR and EFR2, taken apart. */
  readonly features: Features;
  readonly #control = new ControlRegister();
  readonly #table: DeviceTable;
  readonly #iotlb: IoTlb;
  readonly #events: LogBuffer;
  readonly #requests: LogBuffer;
  readonly #commands: CommandProcessor;
  readonly #exclusion = new ExclusionRange();
  readonly #port: RequestPort;
  readonly #pageRequests: PageRequestPort;
  readonly #registers: RegisterWindow;

  constructor(options: AmdIommuOptions, ports: AmdIommuPorts) {
    const { memory, clock, trace, root, interrupt } = ports;
    const { efr, efr2, iotlbSup, open } = options;
    const features = decodeFeatures(efr, efr2);
    const control = this.#control;
    const exclusion = this.#exclusion;
    const table = new DeviceTable(memory, features, options.caches, () => control.has(CONTROL_BIT.GTEn));
    const iotlb = new IoTlb(options.caches);
    const events = new LogBuffer({
      memory,
      interrupt,
      enabled: () => control.enabled && control.has(CONTROL_BIT.EventLogEn),
      interruptEnabled: () => control.has(CONTROL_BIT.EventIntEn),
    });
    const requests = new LogBuffer({
      memory,
      interrupt,
      enabled: () => control.enabled && control.has(CONTROL_BIT.PPRLogEn),
      interruptEnabled: () => control.has(CONTROL_BIT.PPRIntEn),
    });
    this.name = options.name;
    this.features = features;
    this.#table = table;
    this.#iotlb = iotlb;
    this.#events = events;
    this.#requests = requests;
    const shared = { unit: this, memory, clock, trace, root, interrupt, control, table, iotlb, events, open };
    const capabilities = { features, iotlbSup, prefetch: (efr & 1n) === 1n };
    const commands = new CommandProcessor({ ...shared, capabilities });
    this.#commands = commands;
    this.#port = new RequestPort({
      control,
      table,
      resolver: new Resolver(memory, features, iotlb, options.npCache, () => control.has(CONTROL_BIT.GCR3TRPMode)),
      exclusion,
      reporter: new FaultReporter(this.name, memory, trace, events),
      open,
      hostLevels: hostLevels(features),
    });
    this.#pageRequests = new PageRequestPort({ unit: this, control, table, root, events, requests });
    const registers = { control, table, commands, events, requests, exclusion };
    this.#registers = new RegisterWindow({ efr: halves(efr), efr2: halves(efr2), ...registers });
  }

  /** How many translations the IOTLB holds. */
  get translations(): number {
    return this.#iotlb.size;
  }

  /** How many invalidations devices have not completed. */
  get pendingInvalidations(): number {
    return this.#commands.devices.pending;
  }

  /** The parts that make progress by themselves, in a fixed order. */
  get engines(): readonly Engine[] {
    return [this.#commands, this.#commands.devices];
  }

  /**
   * Judges one memory request.
   *
   * @param pasid the PASID, or `NO_PASID`
   * @param page address / 4096
   * @param offset address % 4096
   * @param flags AT and the `REQUEST_` bits
   */
  translate(rid: Rid, pasid: number, page: number, offset: number, flags: number): TranslateResult {
    return this.#port.translate(rid, pasid, page, offset, flags);
  }

  pageRequest(request: PageRequest): void {
    this.#pageRequests.receive(request);
  }

  invalidateCompletion(rid: Rid, itags: number, count: number): void {
    this.#commands.devices.complete(rid, itags, count);
  }

  read32(offset: number): number {
    return this.#registers.read32(offset);
  }

  write32(offset: number, value: number): void {
    this.#registers.write32(offset, value);
  }

  write64(offset: number, lo: number, hi: number): void {
    this.#registers.write64(offset, lo, hi);
  }

  digest(into: Digest): void {
    this.#control.digest(into);
    this.#table.digest(into);
    this.#iotlb.digest(into);
    this.#events.digest(into);
    this.#requests.digest(into);
    this.#commands.digest(into);
    this.#exclusion.digest(into);
    this.#registers.digest(into);
  }
}

function halves(value: bigint): Register64 {
  return [Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn)];
}
