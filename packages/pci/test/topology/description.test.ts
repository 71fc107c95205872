import { createPlatform, linux } from "@iommu-lab/core";
import { FABRIC, TOPOLOGY, endpointConfig, parseRid, pci, pciTopology } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";
import { nic, oneNic } from "../support.ts";

describe("addresses", () => {
  test.each([
    ["01:00.0", 0x100],
    ["0000:ff:1f.7", 0xffff],
    [0x208, 0x208],
  ])("%s", (address, rid) => {
    expect(parseRid(address)).toBe(rid);
  });

  test.each(["1:0.0", "01:20.0", "01:00.8", "0001:01:00.0", "x", -1, 0x10000, 1.5])("%s is refused", (address) => {
    expect(() => parseRid(address)).toThrow(/expected/);
  });
});

describe("pciTopology", () => {
  test("derives bus numbers from what is below", () => {
    const { ports } = pciTopology({
      rootPorts: [
        {
          bdf: "00:01.0",
          switch: {
            bdf: "01:00.0",
            downstream: [
              { bdf: "02:00.0", endpoint: { bdf: "03:00.0", config: nic } },
              { bdf: "02:01.0", endpoint: { bdf: "04:00.0", config: nic } },
            ],
          },
        },
      ],
    });
    const buses = ports.map(({ kind, config }) => [kind, config[0x18], config[0x19], config[0x1a]]);
    expect(buses).toEqual([
      ["root", 0, 1, 4],
      ["upstream", 1, 2, 4],
      ["downstream", 2, 3, 3],
      ["downstream", 2, 4, 4],
    ]);
  });

  test("firmware leaves Memory Space and Bus Master on unless told otherwise, and the given bytes alone", () => {
    const bytes = endpointConfig(nic);
    const on = pciTopology({ rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: bytes } }] });
    const off = pciTopology({
      rootPorts: [{ bdf: "00:01.0", endpoint: { bdf: "01:00.0", config: bytes, busMaster: false } }],
    });
    expect([on.endpoints[0]?.config[4], off.endpoints[0]?.config[4], bytes[4]]).toEqual([6, 0, 0]);
  });

  test.each([
    [
      "an endpoint on the wrong bus",
      { rootPorts: [{ bdf: "00:01.0", endpoint: at("01:00.0"), functions: [at("02:00.0")] }] },
      /bus/,
    ],
    ["two functions at one address", { integrated: [at("00:02.0"), at("00:02.0")] }, /two functions at 00:02\.0/],
    [
      "an integrated endpoint on a bus below a port",
      { rootPorts: [{ bdf: "00:01.0", endpoint: at("01:00.0") }], integrated: [at("01:01.0")] },
      /no port leads to/,
    ],
    ["an empty root port", { rootPorts: [{ bdf: "00:01.0" }] }, /nothing is below/],
    [
      "a switch without downstream ports",
      { rootPorts: [{ bdf: "00:01.0", switch: { bdf: "01:00.0", downstream: [] } }] },
      /no downstream port/,
    ],
    [
      "downstream ports on different buses",
      {
        rootPorts: [
          {
            bdf: "00:01.0",
            switch: {
              bdf: "01:00.0",
              downstream: [
                { bdf: "02:00.0", endpoint: at("04:00.0") },
                { bdf: "03:00.0", endpoint: at("05:00.0") },
              ],
            },
          },
        ],
      },
      /different buses/,
    ],
    [
      "a VF before its PF",
      { integrated: [{ ...at("00:02.1"), virtualFunctionOf: "00:02.0" }, at("00:02.0")] },
      /before it/,
    ],
  ] as const)("refuses %s", (_name, options, message) => {
    expect(() => pciTopology(options)).toThrow(message);
  });
});

describe("platforms made of one description", () => {
  test("share nothing", () => {
    const make = () => createPlatform({ kernel: linux("7.2"), plugins: [pci(oneNic)] });
    const [one, other] = [make(), make()];
    one.host.get(FABRIC).endpoint(0x100).config.poke8(0x40, 0x5a);
    expect(other.host.get(FABRIC).endpoint(0x100).config.read8(0x40)).not.toBe(0x5a);
    expect(one.host.get(TOPOLOGY).fabric).toBe(one.host.get(FABRIC));
    expect(one.host.get(TOPOLOGY).functionAt(0x42)).toBeUndefined();
  });
});

function at(bdf: string) {
  return { bdf, config: nic };
}
