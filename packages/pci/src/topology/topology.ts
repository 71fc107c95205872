import type { Clock, Digest, PhysicalMemory, Trace } from "@iommu-lab/core";
import { ConfigSpace } from "../config-space/config-space.ts";
import { Endpoint } from "../endpoint/endpoint.ts";
import { Fabric } from "../fabric/fabric.ts";
import type { PciFunction } from "../fabric/pci-function.ts";
import { Port } from "../fabric/port.ts";
import { type Rid, formatRid } from "../fabric/request.ts";
import type { TopologyDescription } from "./description.ts";

/** The functions of one platform, as config requests find them, and the fabric that connects them. */
export class Topology {
  /** The way from endpoints to memory. */
  readonly fabric: Fabric;
  /** Ports, each before what is below it. */
  readonly ports: readonly Port[];
  /** Endpoints, PFs before their VFs. */
  readonly endpoints: readonly Endpoint[];
  /** The buses that no port leads to, in ascending order; bus 0 is always one. */
  readonly rootBuses: readonly number[];
  readonly #functions = new Map<Rid, PciFunction>();
  readonly #clock: Clock;
  readonly #trace: Trace;

  constructor(description: TopologyDescription, memory: PhysicalMemory, clock: Clock, trace: Trace) {
    this.fabric = new Fabric(memory, trace);
    this.#clock = clock;
    this.#trace = trace;
    this.ports = this.#makePorts(description);
    this.endpoints = this.#makeEndpoints(description);
    const atRoot = [
      ...description.ports.filter(({ parent }) => parent === undefined),
      ...description.endpoints.filter(({ parent, physfn }) => parent === undefined && physfn === undefined),
    ];
    this.rootBuses = [...new Set([0, ...atRoot.map(({ rid }) => rid >>> 8)])].toSorted((a, b) => a - b);
  }

  /** The function that answers at a config address. */
  functionAt(rid: Rid): PciFunction | undefined {
    return this.#functions.get(rid);
  }

  /** Writes all functions. */
  digest(into: Digest): void {
    for (const port of this.ports) {
      port.digest(into);
    }
    for (const endpoint of this.endpoints) {
      endpoint.digest(into);
    }
  }

  #makePorts(description: TopologyDescription): Port[] {
    const ports = new Map<Rid, Port>();
    for (const { rid, kind, parent, config, externalFacing } of description.ports) {
      const upstream = parent === undefined ? undefined : ports.get(parent);
      const port = new Port({
        rid,
        name: nameOf(rid),
        config: new ConfigSpace(config),
        kind,
        upstream,
        externalFacing,
      });
      ports.set(rid, port);
      this.#functions.set(rid, port);
    }
    return [...ports.values()];
  }

  #makeEndpoints(description: TopologyDescription): Endpoint[] {
    const endpoints = new Map<Rid, Endpoint>();
    for (const { rid, parent, config, physfn, flrNs } of description.endpoints) {
      const port = this.ports.find((one) => one.rid === parent);
      const pf = physfn === undefined ? undefined : endpoints.get(physfn);
      const endpoint = new Endpoint({
        rid,
        name: nameOf(rid),
        config: new ConfigSpace(config),
        fabric: this.fabric,
        clock: this.#clock,
        trace: this.#trace,
        ...(port === undefined ? {} : { port }),
        ...(pf === undefined ? {} : { physfn: pf }),
        ...(flrNs === undefined ? {} : { flrNs }),
      });
      endpoints.set(rid, endpoint);
      this.#functions.set(rid, endpoint);
      this.fabric.addEndpoint(endpoint);
    }
    return [...endpoints.values()];
  }
}

/** The kernel's name of a function in domain 0. */
function nameOf(rid: Rid): string {
  return `0000:${formatRid(rid)}`;
}
