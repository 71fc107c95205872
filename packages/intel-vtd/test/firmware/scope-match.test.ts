import type { DeviceScope, Drhd, NewDmarStructure, ScopedDevice } from "@iommu-lab/intel-vtd";
import {
  ALL_PORTS,
  ATC_REQUIRED,
  INCLUDE_PCI_ALL,
  atsStatement,
  decodeDmar,
  encodeDmar,
  matchScope,
  regionsOf,
  unitOf,
} from "@iommu-lab/intel-vtd";
import { describe, expect, test } from "vitest";
import { machineTables, serverUnits } from "./machine-tables.ts";

/** `00:1c.0 02:03.0 05:00.0`: bus, device, function of each hop from the root bus down. */
function device(
  path: string,
  options: { readonly bridge?: boolean; readonly segment?: number; readonly class?: number } = {},
): ScopedDevice {
  return {
    segment: options.segment ?? 0,
    path: path.split(" ").map((hop) => {
      const [bus = "", slot = "", fn = ""] = hop.split(/[:.]/);
      return { bus: Number.parseInt(bus, 16), device: Number.parseInt(slot, 16), function: Number.parseInt(fn, 16) };
    }),
    isBridge: options.bridge ?? false,
    class: options.class ?? 0x020000,
  };
}

function scope(type: number, startBus: number, ...hops: readonly (readonly [number, number])[]): DeviceScope {
  const path = hops.map(([slot, fn]) => ({ device: slot, function: fn }));
  return { type, flags: 0, reserved: 0, enumerationId: 0, startBus, path };
}

function unit(base: number, segment: number, flags: number, ...scopes: DeviceScope[]): NewDmarStructure {
  return { kind: "drhd", flags, size: 0, segment, base, scopes };
}

function tableOf(...structures: NewDmarStructure[]): ReturnType<typeof decodeDmar> {
  return decodeDmar(encodeDmar({ hostAddressWidth: 48, flags: 0, structures }));
}

describe("device scopes", () => {
  test("a path goes through bridges", () => {
    const two = scope(1, 0, [0x1c, 0], [3, 0]);
    expect(matchScope(two, device("00:1c.0 02:03.0"))).toBe("named");
    expect(matchScope(two, device("00:1c.0 02:03.1"))).toBeUndefined();
    expect(matchScope(two, device("00:1c.0"))).toBeUndefined();
    expect(matchScope(two, device("40:1c.0 42:03.0"))).toBeUndefined();
  });

  test("one hop on the function's own bus is understood", () => {
    expect(matchScope(scope(1, 2, [3, 0]), device("00:1c.0 02:03.0"))).toBe("named");
    expect(matchScope(scope(1, 2, [0x1c, 0], [3, 0]), device("00:1c.0 02:03.0"))).toBeUndefined();
  });

  test("the type must fit the header; a bridge of another class passes as one", () => {
    expect(matchScope(scope(1, 0, [1, 0]), device("00:01.0", { bridge: true }))).toBe("type mismatch");
    expect(matchScope(scope(2, 0, [1, 0]), device("00:01.0"))).toBe("type mismatch");
    expect(matchScope(scope(2, 0, [1, 0]), device("00:01.0", { class: 0x068000 }))).toBe("named");
    expect(matchScope(scope(3, 0, [1, 0]), device("00:01.0"))).toBeUndefined();
  });
});

describe("unit of a device", () => {
  const table = tableOf(
    unit(0x1000, 0, 0, scope(1, 0, [2, 0])),
    unit(0x2000, 0, 0, scope(2, 0, [0x1c, 0])),
    unit(0x3000, 0, 0, scope(2, 0, [0x1d, 0], [0, 0])),
    unit(0x4000, 0, INCLUDE_PCI_ALL),
    unit(0x5000, 1, INCLUDE_PCI_ALL),
    unit(0x6000, 2, 0, scope(1, 0, [2, 0])),
  );

  test.each<[string, ScopedDevice, number | undefined]>([
    ["named as an endpoint", device("00:02.0"), 0x1000],
    ["the bridge itself", device("00:1c.0", { bridge: true }), 0x2000],
    ["below a bridge", device("00:1c.0 02:00.0"), 0x2000],
    ["far below a bridge", device("00:1c.0 02:00.0 03:04.0 05:00.1"), 0x2000],
    ["below a bridge that is two hops away", device("00:1d.0 06:00.0 07:00.0"), 0x3000],
    ["beside that bridge", device("00:1d.0 06:01.0"), 0x4000],
    ["named by nobody", device("00:1f.3"), 0x4000],
    ["another segment", device("00:02.0", { segment: 1 }), 0x5000],
    ["another segment that names it", device("00:02.0", { segment: 2 }), 0x6000],
    ["a segment without a unit for it", device("00:03.0", { segment: 2 }), undefined],
    ["an unknown segment", device("00:02.0", { segment: 3 }), undefined],
  ])("%s", (_name, dev, base) => {
    expect(unitOf(table, dev)?.base).toBe(base);
  });

  test("of two units that name a device the kernel takes the later; one that takes all comes last, wherever it stands", () => {
    const twice = tableOf(
      unit(0x1000, 0, INCLUDE_PCI_ALL),
      unit(0x2000, 0, 0, scope(1, 0, [2, 0])),
      unit(0x3000, 0, 0, scope(1, 0, [2, 0])),
    );
    expect(unitOf(twice, device("00:02.0"))?.base).toBe(0x3000);
    expect(unitOf(twice, device("00:03.0"))?.base).toBe(0x1000);
  });
});

describe("ATS and reserved memory", () => {
  const table = tableOf(
    { kind: "rmrr", reserved: 0, segment: 0, base: 0x1000000, limit: 0x1ffffff, scopes: [scope(1, 0, [2, 0])] },
    { kind: "rmrr", reserved: 0, segment: 0, base: 0x3000000, limit: 0x3000fff, scopes: [scope(2, 0, [0x1c, 0])] },
    { kind: "atsr", flags: 0, reserved: 0, segment: 0, scopes: [scope(2, 0, [0x1c, 0])] },
    { kind: "atsr", flags: ALL_PORTS, reserved: 0, segment: 1, scopes: [] },
    { kind: "satc", flags: ATC_REQUIRED, reserved: 0, segment: 0, scopes: [scope(1, 0, [5, 0])] },
    { kind: "satc", flags: 0, reserved: 0, segment: 0, scopes: [scope(1, 0, [6, 0])] },
  );
  const port = (path: string, segment = 0): ScopedDevice => device(path, { bridge: true, segment });

  test("root ports are listed one by one or all at once", () => {
    expect(atsStatement(table, device("00:1c.0 02:00.0"), port("00:1c.0"))).toEqual({ rootPort: true });
    expect(atsStatement(table, device("00:1d.0 03:00.0"), port("00:1d.0"))).toEqual({ rootPort: false });
    expect(atsStatement(table, device("00:1d.0 03:00.0", { segment: 1 }), port("00:1d.0", 1))).toEqual({
      rootPort: true,
    });
  });

  test("integrated devices are in an SATC, and may need their ATC", () => {
    expect(atsStatement(table, device("00:05.0")).satc).toEqual({ required: true });
    expect(atsStatement(table, device("00:06.0")).satc).toEqual({ required: false });
    expect(atsStatement(table, device("00:05.0", { segment: 1 })).satc).toBeUndefined();
  });

  test("reserved memory is that of the device and of the bridges above it", () => {
    expect(regionsOf(table, device("00:02.0"))).toEqual([{ base: 0x1000000, limit: 0x1ffffff }]);
    expect(regionsOf(table, device("00:1c.0 02:00.0"))).toEqual([{ base: 0x3000000, limit: 0x3000fff }]);
    expect(regionsOf(table, device("00:02.0", { segment: 1 }))).toEqual([]);
  });
});

describe("real tables", () => {
  const tables = machineTables();

  test.each(tables)(
    "$name: what a scope names is served by its unit, all else by the unit that takes all",
    ({ bytes }) => {
      const table = decodeDmar(bytes);
      const units = table.structures.filter((structure): structure is Drhd => structure.kind === "drhd");
      for (const owner of units) {
        for (const one of owner.scopes.filter(({ type }) => type <= 2)) {
          const path = one.path.map((hop, index) => ({ bus: one.startBus + index * 8, ...hop }));
          const bridge = one.type === 2;
          const dev: ScopedDevice = { segment: owner.segment, path, isBridge: bridge, class: 0x020000 };
          expect(unitOf(table, dev)?.base).toBe(owner.base);
          const child = { ...dev, path: [...path, { bus: 0xee, device: 0, function: 0 }], isBridge: false };
          expect(bridge ? unitOf(table, child)?.base : owner.base).toBe(owner.base);
        }
      }
      const nobody: ScopedDevice = {
        segment: 0,
        path: [{ bus: 0, device: 0x1b, function: 6 }],
        isBridge: false,
        class: 0,
      };
      expect(unitOf(table, nobody)?.base).toBe(units.find(({ flags }) => (flags & INCLUDE_PCI_ALL) !== 0)?.base);
    },
  );

  const server = serverUnits();

  test.skipIf(server === undefined)("a server of 20 units: each device has the unit that Linux gave it", () => {
    const expected = Object.entries(server ?? {});
    const last = expected.find(([, members]) => members.some((name) => name.startsWith("0000:00:")))?.[0];
    const devices = expected.flatMap(([name, members]) => below(members).map((dev) => ({ name, dev })));
    const structures = expected.map(([name, members], index) => {
      const tops = below(members).filter(({ path }) => path.length === 1);
      const scopes = tops.map(({ path: [top], isBridge }) =>
        scope(isBridge ? 2 : 1, top?.bus ?? 0, [top?.device ?? 0, top?.function ?? 0]),
      );
      return unit(0x1000 * (index + 1), 0, name === last ? INCLUDE_PCI_ALL : 0, ...(name === last ? [] : scopes));
    });
    const table = tableOf(...structures);
    expect(expected.length).toBe(20);
    for (const { name, dev } of devices) {
      expect(unitOf(table, dev)?.base).toBe(0x1000 * (expected.findIndex(([one]) => one === name) + 1));
    }
  });
});

/** Functions of one unit with their paths: the lowest bus is the root bus, each other bus is below one of its functions. */
function below(members: readonly string[]): readonly ScopedDevice[] {
  const functions = members.map((name) => device(name.slice(5)));
  const busOf = ({ path }: ScopedDevice): number => path[0]?.bus ?? 0;
  const root = Math.min(...functions.map((one) => busOf(one)));
  const buses = [...new Set(functions.map((one) => busOf(one)))].toSorted((a, b) => a - b).slice(1);
  const tops = functions.filter((one) => busOf(one) === root);
  const bridgeOf = (bus: number): ScopedDevice | undefined => tops.at(-1 - (buses.indexOf(bus) % tops.length));
  const bridges = new Set(buses.map((bus) => bridgeOf(bus)));
  return functions.map((one) => {
    const above = busOf(one) === root ? [] : (bridgeOf(busOf(one))?.path ?? []);
    return { segment: 0, path: [...above, ...one.path], isBridge: bridges.has(one), class: one.class };
  });
}
