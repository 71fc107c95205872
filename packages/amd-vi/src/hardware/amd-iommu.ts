import type { Clock, Digest, Digestible, Engine, MmioRegion, PhysicalMemory, Trace } from "@iommu-lab/core";
import {
  type CachePolicy,
  type IommuHardware,
  type PageRequest,
  type Rid,
  type RootComplex,
  type TranslateResult,
  cachePolicies,
} from "@iommu-lab/pci";
import type { InterruptLine } from "../interrupt.ts";
import type { Features } from "../layout/features.ts";
import { decodeFeatures } from "../layout/features.ts";
import { CONTROL_BIT, PPR_AUTO_RESPONSE } from "../layout/registers.ts";
import type { CachePolicies } from "./cache-policy.ts";
import { CACHES } from "./cache-policy.ts";
import { CommandProcessor } from "./command-processor.ts";
import { ControlRegister } from "./control-register.ts";
import { DeviceTable } from "./device-table.ts";
import { hostLevels } from "./dte-check.ts";
import { ExclusionRange } from "./exclusion-range.ts";
import { FaultReporter } from "./fault-reporter.ts";
import { Gcr3Walk } from "./gcr3-walk.ts";
import { GuestWalk } from "./guest-walk.ts";
import { HardwareEvents } from "./hardware-events.ts";
import { HostTranslation } from "./host-translation.ts";
import { LogBuffer } from "./log-buffer.ts";
import type { OpenPoints } from "./open-points.ts";
import { PageRequestPort } from "./page-request-port.ts";
import type { Register64 } from "./register-window.ts";
import { RegisterWindow } from "./register-window.ts";
import { RequestPort } from "./request-port.ts";
import { Resolver } from "./resolver.ts";
import { TranslationCaches } from "./translation-caches.ts";

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
  /** Which results it keeps; one policy for all caches or one for each. */
  readonly caches: CachePolicy | CachePolicies;
  /** Choices where sources disagree. */
  readonly open: OpenPoints;
  /** HtAtsResv: the address translation range of HyperTransport is reserved. Default false. */
  readonly htAtsResv?: boolean;
  /** SNP is active on the machine: DTEs must have a host table. Default false. */
  readonly snpActive?: boolean;
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
  readonly #caches: TranslationCaches;
  readonly #events: LogBuffer;
  readonly #requests: LogBuffer;
  readonly #commands: CommandProcessor;
  readonly #exclusion = new ExclusionRange();
  readonly #hardwareEvents: HardwareEvents;
  readonly #port: RequestPort;
  readonly #pageRequests: PageRequestPort;
  readonly #registers: RegisterWindow;

  constructor(options: AmdIommuOptions, ports: AmdIommuPorts) {
    const { memory, clock, trace, root, interrupt } = ports;
    const { efr, efr2, iotlbSup, open, npCache: keepAbsent } = options;
    const features = decodeFeatures(efr, efr2);
    const control = this.#control;
    const exclusion = this.#exclusion;
    const hardwareEvents = new HardwareEvents(features.hardwareErrorRegisters);
    const policies = cachePolicies(CACHES, options.caches);
    const table = this.#deviceTable(options, memory, policies);
    const caches = new TranslationCaches(policies);
    const events = new LogBuffer({
      memory,
      interrupt,
      enabled: () => control.enabled && control.has(CONTROL_BIT.EventLogEn),
      interruptEnabled: () => control.has(CONTROL_BIT.EventIntEn),
      observe: (words) => hardwareEvents.note(words),
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
    this.#caches = caches;
    this.#events = events;
    this.#requests = requests;
    this.#hardwareEvents = hardwareEvents;
    const shared = { unit: this, memory, clock, trace, root, interrupt, control, table, caches, events, open };
    const commands = new CommandProcessor({ ...shared, capabilities: { features, iotlbSup } });
    this.#commands = commands;
    this.#port = new RequestPort({
      control,
      table,
      resolver: this.#resolver(memory, caches, keepAbsent),
      exclusion,
      reporter: new FaultReporter(this.name, memory, trace, events),
      open,
      hostLevels: hostLevels(features),
      iotlbSup,
      hyperTransport: !features.htRangeIgnore,
      addressTranslationReserved: options.htAtsResv ?? false,
    });
    const registers = { control, table, commands, events, requests, exclusion, hardwareEvents };
    const segmentBits = features.deviceTableSegments;
    this.#registers = new RegisterWindow({ efr: halves(efr), efr2: halves(efr2), segmentBits, ...registers });
    this.#pageRequests = new PageRequestPort({
      unit: this,
      control,
      table,
      root,
      events,
      requests,
      autoResponse: features.pprAutoResponse,
      autoResponseCode: () => this.#registers.read32(PPR_AUTO_RESPONSE) & 0xf,
    });
  }

  /** How many translations the IOTLB holds. */
  get translations(): number {
    return this.#caches.translations.size;
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
    this.#caches.digest(into);
    this.#hardwareEvents.digest(into);
    this.#events.digest(into);
    this.#requests.digest(into);
    this.#commands.digest(into);
    this.#exclusion.digest(into);
    this.#registers.digest(into);
  }

  #deviceTable(options: AmdIommuOptions, memory: PhysicalMemory, policies: Required<CachePolicies>): DeviceTable {
    const control = this.#control;
    const features = decodeFeatures(options.efr, options.efr2);
    const judged = {
      features,
      cxlAttributes: options.open.cxlAttributes === "allowed",
      snpActive: options.snpActive ?? false,
    };
    const withGuest = { ...judged, guestEnabled: true };
    const withoutGuest = { ...judged, guestEnabled: false };
    return new DeviceTable(
      memory,
      policies.deviceTable,
      () => (control.has(CONTROL_BIT.GTEn) ? withGuest : withoutGuest),
      () => control.segmentBits(features.deviceTableSegments),
    );
  }

  #resolver(memory: PhysicalMemory, caches: TranslationCaches, keepAbsent: boolean): Resolver {
    const control = this.#control;
    const host = new HostTranslation(memory, caches, keepAbsent);
    const rootIsGuest = (): boolean => control.has(CONTROL_BIT.GCR3TRPMode);
    const gcr3 = new Gcr3Walk(memory, caches, host, this.features.pasMax, rootIsGuest);
    const dirtyUpdateOff = (): boolean => control.has(CONTROL_BIT.GDUpdateDis);
    return new Resolver({
      caches,
      host,
      guest: new GuestWalk({ memory, caches, host, gcr3, dirtyUpdateOff }),
      keepAbsent,
    });
  }
}

function halves(value: bigint): Register64 {
  return [Number(value & 0xffffffffn), Number((value >> 32n) & 0xffffffffn)];
}
