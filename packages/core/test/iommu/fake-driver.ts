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
  freed = false;

  constructor(driver: FakeDriver, id: number, type: DomainType) {
    this.driver = driver;
    this.id = id;
    this.type = type;
  }

  *attach(device: Device, old: Domain | undefined): Op<void> {
    yield preempt;
    this.driver.log.push(`attach ${device.name} ${this.type} old=${old?.type ?? "none"}`);
    this.driver.fail(`attach ${device.name} ${this.type}`);
  }

  *setPasid(device: Device, pasid: Pasid, old: Domain | undefined): Op<void> {
    yield preempt;
    this.driver.log.push(`pasid ${device.name} ${pasid} ${this.type} old=${old?.type ?? "none"}`);
    this.driver.fail(`pasid ${device.name} ${this.type}`);
  }

  free(): void {
    this.freed = true;
  }
}

/** A driver that writes down what the core asks of it, and fails where a test says so. */
export class FakeDriver implements IommuDriver {
  readonly name = "fake";
  readonly log: string[] = [];
  /** `attach NAME TYPE` or `pasid NAME TYPE` → how many calls fail. */
  readonly failures = new Map<string, number>();
  readonly regions = new Map<string, ReservedRegion[]>();
  readonly hints = new Map<string, (device: Device) => GroupHint>();
  wish: DomainType | undefined;
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

  deviceGroup(device: Device): GroupHint {
    return this.hints.get(device.name)?.(device) ?? "new";
  }

  defaultDomainType(): DomainType | undefined {
    return this.wish;
  }

  reservedRegions(device: Device): readonly ReservedRegion[] {
    return this.regions.get(device.name) ?? [];
  }

  maxPasids(): number {
    return 1024;
  }

  allocPaging(_device: Device, request: PagingRequest): Domain {
    this.#next += 1;
    return new FakeDomain(this, this.#next, request.type);
  }

  believesAtsEnabled(): boolean {
    return false;
  }
}
