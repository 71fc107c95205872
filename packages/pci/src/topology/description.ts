import { InputError } from "@iommu-lab/core";
import { ConfigSpace } from "../config-space/config-space.ts";
import {
  type EndpointOptions,
  endpointConfig,
  rootPortConfig,
  switchPortConfig,
} from "../config-space/function-config.ts";
import type { PortKind, RequesterIdRule } from "../fabric/port.ts";
import { type Rid, formatRid } from "../fabric/request.ts";

/** Where a function sits: requester ID or `[dddd:]bb:dd.f`. The domain must be 0. */
export type FunctionAddress =
  | {
      /** Requester ID. */
      readonly rid: Rid;
    }
  | {
      /** Such as `01:00.0`. */
      readonly bdf: string;
    };

/** An endpoint of a topology. */
export type EndpointSpec = FunctionAddress & {
  /** Config space at power-on: bytes, or what to build them from. */
  readonly config: Uint8Array | EndpointOptions;
  /** Where the PF of this VF sits. */
  readonly virtualFunctionOf?: Rid | string;
  /** How long it does not answer after an FLR starts, in ns of virtual time. Default 100 ms. */
  readonly flrNs?: number;
  /** Memory Space and Bus Master as firmware leaves them. Default true. */
  readonly busMaster?: boolean;
};

/** ACS of a port: the capability bits, and the control bits as firmware leaves them. */
export interface PortAcs {
  /** ACS Capability bits. */
  readonly capability: number;
  /** Default 0. */
  readonly control?: number;
}

/** Below a link: one endpoint (with its other functions), or a switch. */
export interface LinkSpec {
  /** The endpoint; with `functions`, its first function. */
  readonly endpoint?: EndpointSpec;
  /** More functions on the same bus. */
  readonly functions?: readonly EndpointSpec[];
  /** A switch. */
  readonly switch?: SwitchSpec;
}

/** A root port. */
export type RootPortSpec = FunctionAddress &
  LinkSpec & {
    /** Config space; when given, `acs` and the bus numbers are what it says. */
    readonly config?: Uint8Array;
    /** Default: SV, TB, RR, CR, UF, DT capable, none on. `none` = no ACS capability. */
    readonly acs?: PortAcs | "none";
    /** Firmware marks it as leading out of the box. */
    readonly externalFacing?: boolean;
  };

/** A switch: its upstream port and what hangs below its downstream ports. */
export type SwitchSpec = FunctionAddress & {
  /** Config space of the upstream port. */
  readonly config?: Uint8Array;
  /** Its downstream ports, all on one bus. */
  readonly downstream: readonly DownstreamPortSpec[];
};

/** A downstream port of a switch. */
export type DownstreamPortSpec = RootPortSpec;

/** What {@link pciTopology} is made from. */
export interface TopologyOptions {
  /** Root ports and what is below them. */
  readonly rootPorts?: readonly RootPortSpec[];
  /** Endpoints integrated into the root complex: on bus 0, or on another bus that no port leads to. */
  readonly integrated?: readonly EndpointSpec[];
}

/** A port, resolved. */
export interface PortNode {
  /** Requester ID. */
  readonly rid: Rid;
  /** Which side of what it is. */
  readonly kind: PortKind;
  /** The port above it. */
  readonly parent: Rid | undefined;
  /** Config space at power-on. */
  readonly config: Uint8Array;
  /** The same, of which every platform's function is a fork; never written. */
  readonly image: ConfigSpace;
  /** Firmware marks it as leading out of the box. */
  readonly externalFacing: boolean;
  /** What becomes of requester IDs from below, at a bridge to conventional PCI. Default `as-is`. */
  readonly requesterIds?: RequesterIdRule;
}

/** An endpoint, resolved. */
export interface EndpointNode {
  /** Requester ID. */
  readonly rid: Rid;
  /** The port above it. */
  readonly parent: Rid | undefined;
  /** Config space at power-on. */
  readonly config: Uint8Array;
  /** The same, of which every platform's function is a fork; never written. */
  readonly image: ConfigSpace;
  /** The PF of a VF. */
  readonly physfn: Rid | undefined;
  /** A VF: whether it is there from the start. Default true. */
  readonly vfEnabled?: boolean;
  /** How long an FLR takes, in ns of virtual time; undefined = the default. */
  readonly flrNs: number | undefined;
}

/** The functions of a machine and how they hang together: data, from which any number of platforms can be made. */
export interface TopologyDescription {
  /** Every port before what is below it. */
  readonly ports: readonly PortNode[];
  /** PFs before their VFs. */
  readonly endpoints: readonly EndpointNode[];
  /** PCI segment (domain) of all of them, for their names. Default 0. */
  readonly segment?: number;
}

const ALL_ACS: PortAcs = { capability: 0x5f };
const COMMAND = 4;
const MEMORY_AND_MASTER = 6;

/** A requester ID from either form. @throws InputError */
export function parseRid(address: Rid | string): Rid {
  if (typeof address === "number") {
    if (!Number.isInteger(address) || address < 0 || address > 0xffff) {
      throw new InputError(`${address} is no requester ID, expected 0 to 0xffff`);
    }
    return address;
  }
  const match = /^(?:0{4,8}:)?([\da-f]{2}):([01][\da-f])\.([0-7])$/i.exec(address);
  if (match === null) {
    throw new InputError(`${JSON.stringify(address)} is no function address, expected the form 01:00.0 in domain 0`);
  }
  const [bus = 0, device = 0, fn = 0] = match.slice(1).map((part) => Number.parseInt(part, 16));
  return (bus << 8) | (device << 3) | fn;
}

function addressOf(spec: FunctionAddress): Rid {
  return parseRid("rid" in spec ? spec.rid : spec.bdf);
}

/** Collects nodes and checks that buses and addresses fit together. */
class Builder {
  readonly ports: PortNode[] = [];
  readonly endpoints: EndpointNode[] = [];
  readonly #taken = new Set<Rid>();
  readonly #busesBelowPorts = new Set<number>();

  port(spec: RootPortSpec, kind: "root" | "downstream", parent: Rid | undefined): number {
    const rid = this.#take(addressOf(spec));
    const { secondary, subordinate } = busesBelow(spec, rid);
    const acs = spec.acs === "none" ? {} : { acs: spec.acs ?? ALL_ACS };
    const buses = { primary: rid >>> 8, secondary, subordinate };
    const built =
      kind === "root"
        ? rootPortConfig({ ...buses, ...acs })
        : switchPortConfig({ side: "downstream", ...buses, ...acs });
    const config = spec.config ?? built;
    this.ports.push({
      rid,
      kind,
      parent,
      config,
      image: new ConfigSpace(config),
      externalFacing: spec.externalFacing ?? false,
    });
    for (let bus = secondary; bus <= subordinate; bus += 1) {
      this.#busesBelowPorts.add(bus);
    }
    this.#link(spec, rid, secondary);
    return subordinate;
  }

  integrated(spec: EndpointSpec): void {
    const rid = addressOf(spec);
    if (this.#busesBelowPorts.has(rid >>> 8)) {
      throw new InputError(
        `${formatRid(rid)} is integrated into the root complex: expected it on a bus that no port leads to`,
      );
    }
    this.#endpoint(spec, undefined);
  }

  #link(spec: LinkSpec, port: Rid, secondary: number): void {
    for (const endpoint of endpointsOf(spec)) {
      if (endpoint.virtualFunctionOf === undefined && addressOf(endpoint) >>> 8 !== secondary) {
        throw new InputError(
          `${formatRid(addressOf(endpoint))} is below ${formatRid(port)}: expected bus ${secondary.toString(16)}`,
        );
      }
      this.#endpoint(endpoint, port);
    }
    if (spec.switch !== undefined) {
      this.#switch(spec.switch, port);
    }
  }

  #switch(spec: SwitchSpec, parent: Rid): void {
    const rid = this.#take(addressOf(spec));
    const { secondary, subordinate } = busesOfSwitch(spec, rid);
    const config =
      spec.config ?? switchPortConfig({ side: "upstream", primary: rid >>> 8, secondary, subordinate, msi: true });
    this.ports.push({ rid, kind: "upstream", parent, config, image: new ConfigSpace(config), externalFacing: false });
    for (const downstream of spec.downstream) {
      this.port(downstream, "downstream", rid);
    }
  }

  #endpoint(spec: EndpointSpec, parent: Rid | undefined): void {
    const rid = this.#take(addressOf(spec));
    const config = spec.config instanceof Uint8Array ? spec.config.slice() : endpointConfig(spec.config);
    if (spec.busMaster ?? true) {
      config[COMMAND] = (config[COMMAND] ?? 0) | MEMORY_AND_MASTER;
    }
    const physfn = spec.virtualFunctionOf === undefined ? undefined : parseRid(spec.virtualFunctionOf);
    if (physfn !== undefined && !this.endpoints.some((one) => one.rid === physfn)) {
      throw new InputError(`${formatRid(rid)} is a VF of ${formatRid(physfn)}: expected that function before it`);
    }
    this.endpoints.push({ rid, parent, config, image: new ConfigSpace(config), physfn, flrNs: spec.flrNs });
  }

  #take(rid: Rid): Rid {
    if (this.#taken.has(rid)) {
      throw new InputError(`two functions at ${formatRid(rid)}`);
    }
    this.#taken.add(rid);
    return rid;
  }
}

function endpointsOf(spec: LinkSpec): readonly EndpointSpec[] {
  return [...(spec.endpoint === undefined ? [] : [spec.endpoint]), ...(spec.functions ?? [])];
}

function busesBelow(
  spec: LinkSpec & { readonly config?: Uint8Array },
  rid: Rid,
): { secondary: number; subordinate: number } {
  if (spec.config !== undefined) {
    return { secondary: spec.config[0x19] ?? 0, subordinate: spec.config[0x1a] ?? 0 };
  }
  const buses = endpointsOf(spec).map((one) => addressOf(one) >>> 8);
  if (spec.switch !== undefined) {
    const upstream = addressOf(spec.switch);
    buses.push(upstream >>> 8, busesOfSwitch(spec.switch, upstream).subordinate);
  }
  if (buses.length === 0) {
    throw new InputError(
      `nothing is below ${formatRid(rid)}: expected an endpoint, a switch, or a config with bus numbers`,
    );
  }
  return { secondary: Math.min(...buses), subordinate: Math.max(...buses) };
}

function busesOfSwitch(spec: SwitchSpec, rid: Rid): { secondary: number; subordinate: number } {
  const inner = spec.downstream.map((port) => ({
    bus: addressOf(port) >>> 8,
    below: busesBelow(port, addressOf(port)),
  }));
  const [first] = inner;
  if (first === undefined) {
    throw new InputError(`the switch at ${formatRid(rid)} has no downstream port`);
  }
  if (inner.some(({ bus }) => bus !== first.bus)) {
    throw new InputError(`the downstream ports of the switch at ${formatRid(rid)} are on different buses`);
  }
  return { secondary: first.bus, subordinate: Math.max(...inner.map(({ below }) => below.subordinate)) };
}

/**
 * Describes a machine's PCI functions.
 *
 * @throws InputError for addresses that are malformed, taken, or on the wrong bus
 * @example
 * ```ts
 * const topology = pciTopology({
 *   rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: { vendor: 0x1af4, device: 0x1041, class: 0x020000 } } }],
 * });
 * ```
 */
export function pciTopology(options: TopologyOptions): TopologyDescription {
  const builder = new Builder();
  for (const spec of options.rootPorts ?? []) {
    builder.port(spec, "root", undefined);
  }
  for (const spec of options.integrated ?? []) {
    builder.integrated(spec);
  }
  return { ports: builder.ports, endpoints: builder.endpoints };
}
