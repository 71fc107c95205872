import { ConfigSpace, type MachineFunction, endpointConfig, rootPortConfig, switchPortConfig } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { bridgeBytes, conventionalBytes } from "./tree.ts";

/** ACS of a port or function: absent, or its capability and what firmware enabled. */
type Acs = { readonly capability: number; readonly control: number } | undefined;

/** What is in one slot. */
export type Slot =
  | { readonly kind: "endpoint"; readonly functions: readonly Acs[]; readonly quirk: boolean }
  | { readonly kind: "port"; readonly acs: Acs; readonly below: readonly Slot[] }
  | { readonly kind: "switch"; readonly ports: readonly { readonly acs: Acs; readonly below: readonly Slot[] }[] }
  | { readonly kind: "bridge"; readonly type: 7 | "conventional"; readonly functions: number };

const acs: fc.Arbitrary<Acs> = fc.option(
  fc
    .record({ capability: fc.constantFrom(0x1f, 0x1f, 0x5f, 0x0d, 0x01, 0x00), control: fc.nat(0x7f) })
    .map(({ capability, control }) => ({ capability, control: control & capability })),
  { nil: undefined },
);

/** A Marvell function that also uses function 1 of its slot, or an ordinary one. */
const endpoint: fc.Arbitrary<Slot> = fc.record({
  kind: fc.constant("endpoint" as const),
  functions: fc.array(acs, { minLength: 1, maxLength: 3 }),
  quirk: fc.boolean(),
});

const bridge: fc.Arbitrary<Slot> = fc.record({
  kind: fc.constant("bridge" as const),
  type: fc.constantFrom(7 as const, "conventional" as const),
  functions: fc.integer({ min: 1, max: 3 }),
});

const leaf = (): fc.Arbitrary<Slot> => fc.oneof(endpoint, bridge);

const behindLink = (depth: number): fc.Arbitrary<readonly Slot[]> =>
  depth === 0
    ? leaf().map((slot) => [slot])
    : fc.oneof(
        leaf().map((slot) => [slot]),
        fc
          .array(fc.record({ acs, below: behindLink(depth - 1) }), { minLength: 1, maxLength: 3 })
          .map((ports) => [{ kind: "switch" as const, ports }]),
      );

/** The slots of a root bus. */
export const slots: fc.Arbitrary<readonly Slot[]> = fc.array(
  fc.oneof(
    endpoint,
    bridge,
    fc.record({ kind: fc.constant("port" as const), acs, below: behindLink(2) }),
    fc.record({ kind: fc.constant("port" as const), acs, below: behindLink(1) }),
  ),
  { minLength: 1, maxLength: 6 },
);

/** A machine with these slots on its root bus; slot numbers may run down instead of up. */
export function machineOf(onRoot: readonly Slot[], mirrored = false): readonly MachineFunction[] {
  return new Builder(mirrored).build(onRoot);
}

class Builder {
  readonly #functions: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  readonly #mirrored: boolean;
  #lastBus = 0;

  constructor(mirrored: boolean) {
    this.#mirrored = mirrored;
  }

  build(onRoot: readonly Slot[]): readonly MachineFunction[] {
    this.#bus(0, onRoot, true);
    return this.#functions.map(({ at, bytes }) => ({ bdf: name(at), bytes }));
  }

  #bus(bus: number, content: readonly Slot[], isRoot: boolean): void {
    for (const [index, slot] of content.entries()) {
      const device = isRoot ? (this.#mirrored ? 31 - index : index) : 0;
      this.#slot((bus << 8) | (device << 3), slot);
    }
  }

  #slot(at: number, slot: Slot): void {
    switch (slot.kind) {
      case "endpoint":
        for (const [fn, own] of slot.functions.entries()) {
          this.#add(at + fn, endpointBytes(own, slot.functions.length > 1, slot.quirk));
        }
        break;
      case "port":
        this.#port(at, slot.acs, slot.below, "root");
        break;
      case "switch":
        this.#switch(at, slot.ports);
        break;
      default:
        this.#bridge(at, slot.type, slot.functions);
    }
  }

  #port(at: number, own: Acs, below: readonly Slot[], kind: "root" | "downstream"): void {
    const secondary = this.#nextBus();
    this.#bus(secondary, below, false);
    const buses = {
      primary: at >>> 8,
      secondary,
      subordinate: this.#lastBus,
      ...(own === undefined ? {} : { acs: own }),
    };
    this.#add(at, kind === "root" ? rootPortConfig(buses) : switchPortConfig({ side: "downstream", ...buses }));
  }

  #switch(at: number, ports: Extract<Slot, { kind: "switch" }>["ports"]): void {
    const secondary = this.#nextBus();
    for (const [index, { acs: own, below }] of ports.entries()) {
      this.#port((secondary << 8) | (index << 3), own, below, "downstream");
    }
    const buses = { primary: at >>> 8, secondary, subordinate: this.#lastBus };
    this.#add(at, switchPortConfig({ side: "upstream", ...buses }));
  }

  #bridge(at: number, type: 7 | "conventional", functions: number): void {
    const secondary = this.#nextBus();
    const bytes = bridgeBytes(secondary, type);
    bytes[0x18] = at >>> 8;
    this.#add(at, bytes);
    for (let device = 0; device < functions; device += 1) {
      this.#add((secondary << 8) | (device << 3), conventionalBytes());
    }
  }

  #nextBus(): number {
    this.#lastBus += 1;
    return this.#lastBus;
  }

  #add(at: number, bytes: Uint8Array): void {
    this.#functions.push({ at, bytes });
  }
}

function endpointBytes(own: Acs, multiFunction: boolean, quirk: boolean): Uint8Array {
  return endpointConfig({
    vendor: quirk ? 0x1b4b : 0x10ec,
    device: quirk ? 0x9230 : 0x8168,
    class: 0x010000,
    multiFunction,
    ...(own === undefined ? {} : { acs: own }),
  });
}

function name(at: number): string {
  const hex = (value: number): string => value.toString(16).padStart(2, "0");
  return `0000:${hex(at >>> 8)}:${hex((at >>> 3) & 0x1f)}.${at & 7}`;
}

/** Functions whose bytes and addresses mean nothing in particular. */
export const nonsense: fc.Arbitrary<readonly MachineFunction[]> = fc
  .uniqueArray(
    fc.record({
      at: fc.oneof(fc.nat(0xffff), fc.nat(0x3ff)),
      seed: fc.uint8Array({ minLength: 64, maxLength: 300 }),
      base: fc.constantFrom("noise", "port", "endpoint"),
      edits: fc.array(fc.tuple(fc.nat(0x1ff), fc.nat(0xff)), { maxLength: 8 }),
    }),
    { minLength: 1, maxLength: 12, selector: ({ at }) => at },
  )
  .map((list) =>
    list.map(({ at, seed, base, edits }) => {
      const config = new ConfigSpace(base === "noise" ? seed : baseBytes(base, at));
      for (const [offset, value] of edits) {
        config.poke8(offset, value);
      }
      return { bdf: name(at), bytes: config.toBytes() };
    }),
  );

function baseBytes(base: string, at: number): Uint8Array {
  const sriov = { totalVfs: 4, vfDevice: 1 };
  return base === "port"
    ? rootPortConfig({ secondary: at & 0xff || 1, subordinate: 0xff, acs: { capability: 0x1f } })
    : endpointConfig({ vendor: 1, device: 1, class: 0, sriov, ari: { nextFunction: at & 7 } });
}
