import type { Recorder } from "@iommu-lab/core";
import {
  type DmaResult,
  type Endpoint,
  type EndpointSpec,
  type InFlightRequest,
  NO_PASID,
  REQUEST_WRITE,
  type Rid,
  type RootPeerToPeer,
  type RootPortSpec,
  type TopologyDescription,
  type TranslationResult,
  completionOf,
  pciTopology,
} from "@iommu-lab/pci";
import * as fc from "fast-check";
import { Machine, nic } from "../support.ts";
import { barPage, downstreamPort, rootPort, upstreamPort, withBar } from "./peers.ts";

/** Below a root port: functions of one device, or a switch with a device below each of its ports. */
const below = fc.oneof(
  fc.record({ functions: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ ports: fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 1, maxLength: 3 }) }),
);

const machine = fc.record({
  roots: fc.array(fc.record({ prefix: fc.boolean(), below }), { minLength: 1, maxLength: 3 }),
  integrated: fc.boolean(),
  peerToPeer: fc.constantFrom<RootPeerToPeer>("none", "translated", "direct"),
  iommu: fc.boolean(),
});

const KINDS = [
  "untranslated-read",
  "untranslated-write",
  "translated-read",
  "translated-write",
  "reserved",
  "translation",
  "dma-read",
  "dma-write",
  "queue-write",
  "queue-read",
  "queue-translation",
] as const;
const EVENTS = [
  "acs",
  "ats",
  "master",
  "memory",
  "reset",
  "unplug",
  "invalidate",
  "hold",
  "release",
  "settle",
  "map",
] as const;

const step = fc.record({
  what: fc.constantFrom(...KINDS, ...KINDS, ...EVENTS),
  who: fc.nat({ max: 15 }),
  target: fc.nat({ max: 19 }),
  pasid: fc.constantFrom(NO_PASID, NO_PASID, 1),
  spoof: fc.integer({ min: 0, max: 9 }),
  value: fc.nat({ max: 0x7f }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type MachineShape = typeof machine extends fc.Arbitrary<infer T> ? T : never;

/** A random machine and what happens on it. */
export const conservationCase: fc.Arbitrary<{ readonly shape: MachineShape; readonly steps: readonly Step[] }> =
  fc.record({
    shape: machine,
    steps: fc.array(step, { minLength: 5, maxLength: 60 }),
  });

const card = { ...nic, multiFunction: true, acs: { capability: 0x86c } };

function device(bus: number, functions: number): { endpoint: EndpointSpec; functions: EndpointSpec[] } {
  const all = Array.from({ length: functions }, (_, index): EndpointSpec => {
    const rid = (bus << 8) | index;
    return { rid, config: withBar(rid, card) };
  });
  const [endpoint, ...rest] = all;
  if (endpoint === undefined) {
    throw new Error("a device without functions");
  }
  return { endpoint, functions: rest };
}

function topologyOf(shape: MachineShape): TopologyDescription {
  let bus = 0;
  const rootPorts = shape.roots.map(({ prefix, below: what }, index): RootPortSpec => {
    const rid = (index + 1) << 3;
    const first = bus + 1;
    if ("functions" in what) {
      bus += 1;
      return { rid, config: rootPort(bus, bus, index + 1, prefix), ...device(bus, what.functions) };
    }
    const inner = first + 1;
    bus = inner;
    const ports = what.ports.map((functions, port): RootPortSpec => {
      bus += 1;
      return { rid: (inner << 8) | (port << 3), config: downstreamPort(inner, bus, port), ...device(bus, functions) };
    });
    return {
      rid,
      config: rootPort(first, bus, index + 1, prefix),
      switch: { rid: first << 8, config: upstreamPort(first, inner, bus), downstream: ports },
    };
  });
  const integrated = shape.integrated ? [{ rid: 0xf8, config: withBar(0xf8, { ...card, pcieType: 9 }) }] : [];
  return pciTopology({ rootPorts, integrated });
}

/** One run: the machine, and everything that must add up at its end. */
export class ConservationRun {
  readonly machine: Machine;
  readonly #description: TopologyDescription;
  readonly #recorder: Recorder;
  readonly #endpoints: readonly Endpoint[];
  readonly #queued: InFlightRequest[] = [];
  readonly #valueOf = new Map<InFlightRequest, number>();
  readonly #problems: string[] = [];
  /** Posted writes that claim to have arrived, by their value. */
  readonly #arrived = new Set<number>();
  #next = 1;

  constructor(shape: MachineShape) {
    this.#description = topologyOf(shape);
    this.machine = new Machine(this.#description, { iommu: shape.iommu });
    this.machine.fabric.rootPeerToPeer = shape.peerToPeer;
    this.#endpoints = this.#description.endpoints.map(({ rid }) => this.machine.fabric.endpoint(rid));
    for (const endpoint of this.#endpoints) {
      endpoint.declareMemory(0, 2 ** 20);
      this.machine.setAts(true, 0, endpoint);
      this.machine.setPasid(true, endpoint);
    }
    this.#recorder = this.machine.record();
  }

  run(steps: readonly Step[]): void {
    for (const one of steps) {
      this.#do(one);
    }
    for (const endpoint of this.#endpoints) {
      endpoint.inFlight.release();
    }
    this.machine.platform.scheduler.settle();
  }

  /** Everything that does not add up, in words; none = all does. */
  problems(): string[] {
    return [...this.#problems, ...this.#againstTrace(), ...this.#sums(), ...this.#queuedEnds(), ...this.#writes()];
  }

  /** Each request has one end in the trace, and the counters equal the trace. */
  #againstTrace(): string[] {
    const { events } = this.#recorder;
    const found: string[] = [];
    const results = new Map<number, string>();
    for (const event of events) {
      if (event.type === "tlp:result") {
        if (results.has(event.tlp)) {
          found.push(`request ${event.tlp} ends twice`);
        }
        results.set(event.tlp, event.status);
      }
    }
    const { posted, nonPosted, messages } = this.machine.fabric.counters;
    const seen = [0, 0, 0, 0, 0, 0];
    for (const event of events) {
      if (event.type !== "tlp") {
        continue;
      }
      const status = results.get(event.id);
      if (status === undefined) {
        found.push(`request ${event.id} has no end`);
      }
      const isMessage = event.kind.includes("invalidate") || event.kind.startsWith("page-");
      const isWrite = event.kind.includes("write");
      const finished = isMessage
        ? status === "delivered"
        : isWrite
          ? status === "success"
          : completionOf(status as DmaResult["status"]) !== "none";
      const column = isMessage ? 4 : isWrite ? 0 : 2;
      seen[column] = (seen[column] ?? 0) + 1;
      seen[column + 1] = (seen[column + 1] ?? 0) + (finished ? 1 : 0);
    }
    const counted = [posted, nonPosted, messages].flatMap(({ sent, finished }) => [sent, finished]);
    if (counted.join(" ") !== seen.join(" ")) {
      found.push(`counted ${counted.join(" ")}, traced ${seen.join(" ")}`);
    }
    return found;
  }

  #sums(): string[] {
    const { posted, nonPosted, messages } = this.machine.fabric.counters;
    return [posted, nonPosted, messages].flatMap(({ sent, finished, dropped }) => {
      const lost = [...dropped.values()].reduce((sum, one) => sum + one, 0);
      return finished + lost === sent ? [] : [`${sent} sent, ${finished} finished, ${lost} dropped`];
    });
  }

  /** Whatever was begun is done, or dropped with a cause. */
  #queuedEnds(): string[] {
    return this.#queued.flatMap(({ kind, state, reason }) =>
      state === "done" || (state === "dropped" && reason !== "") ? [] : [`a ${kind} is ${state}, reason "${reason}"`],
    );
  }

  /** Each write that arrived is somewhere exactly once; no other write is anywhere. */
  #writes(): string[] {
    const found: string[] = [];
    const arrived = new Set(this.#arrived);
    for (const request of this.#queued) {
      const value = this.#valueOf.get(request);
      if (value !== undefined && request.state === "done" && request.status === "success") {
        arrived.add(value);
      }
    }
    for (let value = 1; value < this.#next; value += 1) {
      const offset = value * 4;
      let copies = 0;
      for (const page of [this.machine.buffer, this.machine.canary]) {
        copies += this.machine.word(page, offset) === value ? 1 : 0;
      }
      for (const endpoint of this.#endpoints) {
        copies += endpoint.memory.read(0, offset) === value ? 1 : 0;
      }
      if (copies !== (arrived.has(value) ? 1 : 0)) {
        found.push(`write ${value} is in ${copies} places`);
      }
    }
    return found;
  }

  #do(one: Step): void {
    const endpoint = this.#endpoints[one.who % this.#endpoints.length];
    if (endpoint === undefined) {
      return;
    }
    const spoofed = this.#endpoints[one.spoof];
    endpoint.spoofRid = spoofed === endpoint ? undefined : spoofed?.rid;
    const page = this.#page(one.target);
    const value = this.#next;
    const before = this.#recorder.events.length;
    const result = this.#send(endpoint, one, page, value);
    if (result !== undefined) {
      this.#next += 1;
      if (result.sent && result.status === "success" && wrote(one.what)) {
        this.#arrived.add(value);
      }
      const sent = this.#recorder.events.slice(before).some(({ type }) => type === "tlp");
      if (result.sent && !sent) {
        this.#problems.push(`${one.what} says that it was sent`);
      }
      return;
    }
    this.#queue(endpoint, one, page, value);
    this.#happen(endpoint, one, page);
  }

  #send(endpoint: Endpoint, one: Step, page: number, value: number): DmaResult | TranslationResult | undefined {
    const { pasid } = one;
    const offset = value * 4;
    switch (one.what) {
      case "untranslated-read":
        return endpoint.untranslatedRead(page, offset, pasid);
      case "untranslated-write":
        return endpoint.untranslatedWrite(page, offset, value, pasid);
      case "translated-read":
        return endpoint.translatedRead(page, offset, pasid);
      case "translated-write":
        return endpoint.translatedWrite(page, offset, value, pasid);
      case "reserved":
        return endpoint.request(page, offset, one.value % 2 === 0 ? 3 : 1 | REQUEST_WRITE, value, pasid);
      case "translation":
        return endpoint.translationRequest(page, pasid);
      case "dma-read":
        return endpoint.dmaRead(page, offset, pasid);
      case "dma-write":
        return endpoint.dmaWrite(page, offset, value, pasid);
      default:
        return undefined;
    }
  }

  #queue(endpoint: Endpoint, one: Step, page: number, value: number): void {
    const options = { pasid: one.pasid, trafficClass: one.value % 8 };
    const offset = value * 4;
    const request =
      one.what === "queue-write"
        ? endpoint.queue.write(page, offset, value, options)
        : one.what === "queue-read"
          ? endpoint.queue.read(page, offset, options)
          : one.what === "queue-translation"
            ? endpoint.queue.translation(page, options)
            : undefined;
    if (request !== undefined) {
      this.#next += 1;
      this.#queued.push(request);
      if (one.what === "queue-write") {
        this.#valueOf.set(request, value);
      }
    }
  }

  #happen(endpoint: Endpoint, one: Step, page: number): void {
    const { fabric, iommu } = this.machine;
    const on = one.value % 2 === 0;
    switch (one.what) {
      case "acs": {
        const port = this.#description.ports[one.who % this.#description.ports.length];
        if (port?.kind !== "upstream" && port !== undefined) {
          this.machine.setAcs(port.rid, one.value);
        }
        break;
      }
      case "ats":
        this.machine.setAts(on, 0, endpoint);
        break;
      case "master":
        this.machine.setBusMaster(on, endpoint);
        break;
      case "memory":
        endpoint.writeConfig(4, 2, on ? 6 : 4);
        break;
      case "reset":
        endpoint.reset("flr");
        break;
      case "unplug":
        if (one.value === 0) {
          endpoint.unplug();
        }
        break;
      case "invalidate":
        fabric.sendInvalidate(iommu, endpoint.rid, one.value % 32, one.pasid, on ? page : 0, on ? 12 : 64, false, 0);
        break;
      case "hold":
        endpoint.inFlight.hold(on ? undefined : one.value % 8);
        break;
      case "release":
        endpoint.inFlight.release(on ? undefined : one.value % 8);
        break;
      case "settle":
        this.machine.platform.scheduler.settle();
        break;
      case "map":
        iommu.map(one.pasid, page, { host: this.#page(one.value), read: true, write: on });
        break;
      default:
        break;
    }
  }

  /** RAM, memory of a function, a hole in a window, or nothing at all. */
  #page(target: number): number {
    const rid: Rid = this.#endpoints[target % this.#endpoints.length]?.rid ?? 0;
    if (target < 3) {
      return [this.machine.buffer, this.machine.canary, 1][target] ?? 1;
    }
    return target < 17 ? barPage(rid) : barPage(rid + 4);
  }
}

function wrote(what: Step["what"]): boolean {
  return what === "untranslated-write" || what === "translated-write" || what === "dma-write" || what === "reserved";
}
