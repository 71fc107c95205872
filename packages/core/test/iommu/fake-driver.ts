import type {
  BusDevice,
  Device,
  Domain,
  DomainType,
  GroupHint,
  IommuDriver,
  Op,
  PagingRequest,
  Pasid,
  ReservedRegion,
} from "@iommu-lab/core";
import { KernelError, preempt } from "@iommu-lab/core";

/** A bus device with the properties a test wants. */
export function busDevice(name: string, options: Partial<BusDevice> = {}): BusDevice {
  return {
    name,
    untrusted: false,
    present: () => true,
    atsSupported: () => true,
    maxPasids: () => 16,
    sharesAlias: () => false,
    ...options,
  };
}

class FakeDomain implements Domain {
  readonly id: number;
  type: DomainType;
  readonly driver: FakeDriver;

  constructor(driver: FakeDriver, id: number, type: DomainType) {
    this.driver = driver;
    this.id = id;
    this.type = type;
  }

  *attach(device: Device, old: Domain | undefined): Op<void> {
    yield preempt;
    this.driver.log.push(`attach ${device.name} ${this.type} old=${old?.type ?? "none"}`);
    this.driver.fail(`attach ${device.name} ${this.type}`);
    this.driver.rid.set(device.name, this);
  }

  *setPasid(device: Device, pasid: Pasid, old: Domain | undefined): Op<void> {
    yield preempt;
    this.driver.log.push(`pasid ${device.name} ${pasid} ${this.type} old=${old?.type ?? "none"}`);
    this.driver.fail(`pasid ${device.name} ${this.type}`);
    if (this.type === "BLOCKED") {
      this.driver.pasids.delete(`${device.name} ${pasid}`);
    } else {
      this.driver.pasids.set(`${device.name} ${pasid}`, this);
    }
  }

  /** Pages of the domain: page → host page. */
  readonly pages = new Map<number, number>();

  *map(page: number, target: number, count: number): Op<void> {
    yield preempt;
    this.driver.log.push(`map 0x${page.toString(16)}+${count}`);
    this.driver.fail("map");
    for (let index = 0; index < count; index += 1) {
      this.pages.set(page + index, target + index);
    }
  }

  *unmap(page: number, count: number): Op<number> {
    yield preempt;
    let removed = 0;
    for (let index = 0; index < count; index += 1) {
      removed += this.pages.delete(page + index) ? 1 : 0;
    }
    return removed;
  }

  *flushAll(): Op<void> {
    yield preempt;
    this.driver.log.push("flush");
  }

  lookup(page: number): number | undefined {
    return this.pages.get(page);
  }

  free(): void {
    this.driver.freed.push(this.type);
  }
}

/** A driver that writes down what the core asks of it, and fails where a test says so. */
export class FakeDriver implements IommuDriver {
  readonly name = "fake";
  readonly log: string[] = [];
  /** `attach NAME TYPE`, `pasid NAME TYPE`, `probe NAME`, `group NAME`, `alloc TYPE`, `map` → how many calls fail. */
  readonly failures = new Map<string, number>();
  /** What the hardware would be: the RID domain of each device by name. */
  readonly rid = new Map<string, Domain>();
  /** `NAME PASID` → domain. */
  readonly pasids = new Map<string, Domain>();
  /** The types of the domains given back, in order. */
  readonly freed: DomainType[] = [];
  /** What was asked of `allocPaging`. */
  readonly requests: PagingRequest[] = [];
  /** Every device whose group was asked for, in order. */
  readonly asked: Device[] = [];
  deferred = false;
  firmwareDescribed = false;
  readonly regions = new Map<string, ReservedRegion[]>();
  readonly hints = new Map<string, (device: Device) => GroupHint>();
  wish: DomainType | undefined;
  readonly wishes = new Map<string, DomainType>();
  readonly blocked: Domain = new FakeDomain(this, 1, "BLOCKED");
  readonly identity: Domain = new FakeDomain(this, 2, "IDENTITY");
  readonly releaseDomain: Domain = this.blocked;
  #next = 3;

  fail(key: string): void {
    const left = this.failures.get(key) ?? 0;
    if (left > 0) {
      this.failures.set(key, left - 1);
      throw new KernelError("EIO", key);
    }
  }

  *probeDevice(device: Device): Op<void> {
    yield preempt;
    this.log.push(`probe ${device.name}`);
    this.fail(`probe ${device.name}`);
  }

  *probeFinalize(device: Device): Op<void> {
    yield preempt;
    this.log.push(`finalize ${device.name}`);
  }

  *releaseDevice(device: Device): Op<void> {
    yield preempt;
    this.log.push(`release ${device.name}`);
  }

  *removePasid(device: Device, pasid: Pasid, domain: Domain): Op<void> {
    yield preempt;
    this.log.push(`remove ${device.name} ${pasid} ${domain.type}`);
    this.pasids.delete(`${device.name} ${pasid}`);
  }

  isAttachDeferred(): boolean {
    return this.deferred;
  }

  deviceGroup(device: Device): GroupHint {
    this.fail(`group ${device.name}`);
    const hint = this.hints.get(device.name)?.(device) ?? "new";
    this.asked.push(device);
    return hint;
  }

  defaultDomainType(device: Device): DomainType | undefined {
    return this.wishes.get(device.name) ?? this.wish;
  }

  reservedRegions(device: Device): readonly ReservedRegion[] {
    return this.regions.get(device.name) ?? [];
  }

  maxPasids(): number {
    return 1024;
  }

  allocPaging(_device: Device, request: PagingRequest): Domain {
    this.requests.push(request);
    this.fail(`alloc ${request.type}`);
    this.#next += 1;
    return new FakeDomain(this, this.#next, request.type);
  }

  believesAtsEnabled(): boolean {
    return false;
  }
}
