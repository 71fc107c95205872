import type { Clock, Digest, PhysicalMemory, Trace } from "@iommu-lab/core";
import { Endpoint } from "../endpoint/endpoint.ts";
import { Fabric } from "../fabric/fabric.ts";
import type { PciFunction } from "../fabric/pci-function.ts";
import { Port } from "../fabric/port.ts";
import type { Rid } from "../fabric/request.ts";
import { Dpc } from "../reset/dpc.ts";
import { PortLink } from "../reset/port-link.ts";
import { RESET_TIMES, type ResetTimes } from "../reset/reset-kind.ts";
import type { TopologyDescription } from "./description.ts";
import { machineName } from "./machine-function.ts";

/** The functions of one platform, as config requests find them, and the fabric that connects them. */
export class Topology {
  /** PCI segment (domain) of all functions. */
  readonly segment: number;
  /** The way from endpoints to memory. */
  readonly fabric: Fabric;
  /** Ports, each before what is below it. */
  readonly ports: readonly Port[];
  /** Endpoints, PFs before their VFs. */
  readonly endpoints: readonly Endpoint[];
  /** The buses that no port leads to, in ascending order; bus 0 is always one. */
  readonly rootBuses: readonly number[];
  /** The link below each port, in the order of the ports. */
  readonly links: readonly PortLink[];
  /** Containment of each port that has it. */
  readonly dpcs: ReadonlyMap<Rid, Dpc>;
  readonly #functions = new Map<Rid, PciFunction>();
  readonly #clock: Clock;
  readonly #trace: Trace;

  constructor(
    description: TopologyDescription,
    memory: PhysicalMemory,
    clock: Clock,
    trace: Trace,
    times: ResetTimes = RESET_TIMES,
  ) {
    this.segment = description.segment ?? 0;
    this.fabric = new Fabric(memory, trace);
    this.#clock = clock;
    this.#trace = trace;
    this.ports = this.#makePorts(description);
    this.endpoints = this.#makeEndpoints(description);
    this.links = this.ports.map((port) => this.#makeLink(port, times));
    this.dpcs = new Map(
      this.links
        .map((link): [Rid, Dpc] => [link.port.rid, new Dpc(link, times.rpBusyNs, clock, trace)])
        .filter(([, dpc]) => dpc.present),
    );
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

  /** The link below a port. */
  linkBelow(port: Rid): PortLink | undefined {
    return this.links.find((link) => link.port.rid === port);
  }

  /** Writes all functions and links. */
  digest(into: Digest): void {
    for (const link of this.links) {
      link.digest(into);
    }
    for (const dpc of this.dpcs.values()) {
      dpc.digest(into);
    }
    for (const port of this.ports) {
      port.digest(into);
    }
    for (const endpoint of this.endpoints) {
      endpoint.digest(into);
    }
  }

  #makeLink(port: Port, times: ResetTimes): PortLink {
    const below = {
      endpoints: () => this.endpoints.filter((endpoint) => endpoint.port === port),
      links: () => this.links.filter((link) => link.port.upstream === port),
    };
    return new PortLink(port, below, times, this.#clock, this.#trace);
  }

  #makePorts(description: TopologyDescription): Port[] {
    const ports = new Map<Rid, Port>();
    for (const { rid, kind, parent, image, externalFacing, requesterIds } of description.ports) {
      const upstream = parent === undefined ? undefined : ports.get(parent);
      const port = new Port({
        rid,
        name: machineName({ segment: this.segment, rid }),
        config: image.fork(),
        kind,
        upstream,
        externalFacing,
        ...(requesterIds === undefined ? {} : { requesterIds }),
      });
      ports.set(rid, port);
      this.#functions.set(rid, port);
    }
    return [...ports.values()];
  }

  #makeEndpoints(description: TopologyDescription): Endpoint[] {
    const endpoints = new Map<Rid, Endpoint>();
    const ports = new Map(this.ports.map((port) => [port.rid, port]));
    for (const { rid, parent, image, physfn, vfEnabled, flrNs } of description.endpoints) {
      const port = parent === undefined ? undefined : ports.get(parent);
      const pf = physfn === undefined ? undefined : endpoints.get(physfn);
      const endpoint = new Endpoint({
        rid,
        name: machineName({ segment: this.segment, rid }),
        config: image.fork(),
        fabric: this.fabric,
        clock: this.#clock,
        trace: this.#trace,
        ...(port === undefined ? {} : { port }),
        ...(pf === undefined ? {} : { physfn: pf }),
        ...(vfEnabled === undefined ? {} : { vfEnabled }),
        ...(flrNs === undefined ? {} : { flrNs }),
      });
      endpoints.set(rid, endpoint);
      this.#functions.set(rid, endpoint);
      this.fabric.addEndpoint(endpoint);
    }
    return [...endpoints.values()];
  }
}
