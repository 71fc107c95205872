import { PROT_MMIO, PROT_PRIV, PROT_READ, PROT_WRITE, bytesOfHex, writeAcpiTable } from "@iommu-lab/core";
import { describe, expect, it } from "vitest";
import { buildIort } from "../../src/firmware/iort-build.ts";
import { iortCodec } from "../../src/firmware/iort-codec.ts";
import { encodeIort } from "../../src/firmware/iort-encode.ts";
import { mapId, rootComplexOf } from "../../src/firmware/iort-map.ts";
import { rmrRegions } from "../../src/firmware/iort-rmr.ts";
import { type IortNode, type IortTable, decodeIort } from "../../src/firmware/iort.ts";

/** ITS @48, SMMUv3 @72, root complex @160, RMR @216. */
const GOLDEN = [
  "00 18 00 01 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00",
  "04 58 00 05 01 00 00 00 01 00 00 00 44 00 00 00 00 00 05 09 00 00 00 00 01 00 00 00 00 00 00 00",
  "00 00 00 00 00 00 00 00 00 00 00 00 6a 00 00 00 6b 00 00 00 6d 00 00 00 6c 00 00 00 00 00 00 00",
  "00 00 00 00 00 00 00 00 ff ff 00 00 00 00 00 00 30 00 00 00 00 00 00 00",
  "02 38 00 04 02 00 00 00 01 00 00 00 24 00 00 00 01 00 00 00 00 00 00 03 07 00 00 00 00 00 00 00",
  "30 14 00 00 00 00 00 00 ff ff 00 00 00 00 00 00 48 00 00 00 00 00 00 00",
  "06 44 00 03 03 00 00 00 01 00 00 00 1c 00 00 00 17 00 00 00 01 00 00 00 30 00 00 00",
  "00 00 00 00 00 00 00 00 00 01 00 00 48 00 00 00 01 00 00 00",
  "00 00 00 88 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00",
].join(" ");

function golden(revision: number = 5): Uint8Array {
  const nodes = bytesOfHex(GOLDEN);
  const body = new Uint8Array(12 + nodes.length);
  new DataView(body.buffer).setUint32(0, 4, true);
  new DataView(body.buffer).setUint32(4, 48, true);
  body.set(nodes, 12);
  return writeAcpiTable({ signature: "IORT", revision }, body);
}

describe("the golden table", () => {
  const table = decodeIort(golden());

  it("decodes", () => {
    const [its, smmu, rc, rmr] = table.nodes;
    expect(its).toMatchObject({ kind: "itsGroup", offset: 48, itsCount: 1, identifiers: [0] });
    expect(smmu).toMatchObject({ kind: "smmuV3", offset: 72, baseAddress: 0x9050000n, flags: 1, eventGsiv: 0x6a });
    expect(rc).toMatchObject({ kind: "rootComplex", offset: 160, atsAttribute: 7, memorySizeLimit: 0x30 });
    expect(rmr).toMatchObject({ kind: "rmr", offset: 216, flags: 0x17, rmrOffset: 0x30 });
    expect(table.warnings).toEqual([]);
  });

  it("encodes to the same bytes", () => {
    expect(encodeIort(table)).toEqual(golden());
    expect(iortCodec.encode(iortCodec.decode(golden()).fields)).toEqual(golden());
  });

  it("maps requester IDs to streams, and streams on to the ITS", () => {
    const rc = rootComplexOf(table, 0);
    const stream = rc === undefined ? undefined : mapId(table, rc, 0x100, ["smmuV3"]);
    expect([stream?.node.offset, stream?.id]).toEqual([72, 0x100]);
    expect(rc && mapId(table, rc, 0x100, ["itsGroup"])).toMatchObject({ id: 0x100, node: { offset: 48 } });
    expect(rc && mapId(table, rc, 0x10000, ["smmuV3"])).toBeUndefined();
    expect(rootComplexOf(table, 1)).toBeUndefined();
  });

  it("reserves memory for the stream that the RMR node names", () => {
    const region = {
      page: 0x88000,
      count: 16,
      prot: PROT_READ | PROT_WRITE | PROT_PRIV,
      type: "direct-relaxable",
      streams: [0x100],
    };
    expect(rmrRegions(table, 72)).toEqual([region]);
    expect(rmrRegions(table, 72, [0x100])).toEqual([region]);
    expect(rmrRegions(table, 72, [0x101])).toEqual([]);
    expect(rmrRegions(table, 160)).toEqual([]);
    expect(rmrRegions(decodeIort(golden(4)), 72)).toEqual([]);
  });
});

/** A root complex with mappings `[first, count - 1, output, target]`. */
function tableWith(mappings: readonly (readonly number[])[], smmuFields: object = {}): IortTable {
  return decodeIort(
    iortCodec.encode({
      nodes: [
        { kind: "smmuV3", revision: 4, ...smmuFields },
        {
          kind: "rootComplex",
          revision: 4,
          mappings: mappings.map(([inputBase = 0, idCount = 0, outputBase = 0, outputReference = 0, flags = 0]) => ({
            inputBase,
            idCount,
            outputBase,
            outputReference,
            flags,
          })),
        },
        { kind: "itsGroup", identifiers: [3] },
      ],
    }),
  );
}

function mapped(table: IortTable, id: number): [number | undefined, string[]] {
  const warnings: string[] = [];
  const rc = rootComplexOf(table, 0);
  const hit = rc === undefined ? undefined : mapId(table, rc, id, ["smmuV3"], (what) => warnings.push(what));
  return [hit?.id, warnings.map((warning) => warning.replace(/^.*?: /, ""))];
}

describe("ID mappings", () => {
  it("a range that counts one ID too many yields to the range that begins there", () => {
    const off = tableWith([
      [0, 0x100, 0, 48],
      [0x100, 0x100, 0x8000, 48],
    ]);
    expect(mapped(off, 0xff)).toEqual([0xff, []]);
    expect(mapped(off, 0x100)).toEqual([0x8000, ["conflicting mapping for input ID 0x100"]]);
    expect(mapped(off, 0x200)).toEqual([0x8100, []]);
  });

  it("the last ID of a range without a neighbour is in it", () => {
    expect(mapped(tableWith([[0, 0xff, 0x40, 48]]), 0xff)).toEqual([0x13f, []]);
    expect(mapped(tableWith([[0, 0xff, 0x40, 48]]), 0x100)).toEqual([undefined, []]);
  });

  it("a duplicate in the middle of a range is disregarded", () => {
    const twice = tableWith([
      [0, 0x10, 0x1000, 48],
      [8, 0x10, 0x2000, 48],
    ]);
    expect(mapped(twice, 0x10)).toEqual([0x1010, ["conflicting mapping for input ID 0x10"]]);
    expect(mapped(twice, 0x9)).toEqual([0x1009, []]);
  });

  it("a single mapping ignores the input", () => {
    expect(mapped(tableWith([[5, 0, 0x77, 48, 1]]), 0x100)).toEqual([0x77, []]);
  });

  it("a reference to nothing, or to no node, ends the search", () => {
    expect(mapped(tableWith([[0, 0xffff, 0, 0]]), 1)).toEqual([undefined, ["its first ID mapping refers to nothing"]]);
    expect(mapped(tableWith([[0, 0xffff, 0, 50]]), 1)).toEqual([
      undefined,
      ["an ID mapping points to 0x32, where no node begins"],
    ]);
  });

  it("a circle ends the search", () => {
    const own = 48 + 68;
    expect(mapped(tableWith([[0, 0xffff, 0, own]]), 1)).toEqual([undefined, []]);
  });
});

describe("buildIort", () => {
  it("lays out what a decoder finds again", () => {
    const built = buildIort({
      smmus: [
        { base: 0x9050000, flags: 1 },
        { base: 0x9090000, flags: 0 },
      ],
      rootComplexes: [
        {
          segment: 0,
          ats: true,
          ranges: [
            { first: 0, last: 0xff, output: 0, smmu: 0 },
            { first: 0x100, last: 0xffff, output: 0x1100, smmu: 1 },
          ],
        },
      ],
      reserved: [
        {
          remapPermitted: false,
          ranges: [{ first: 0, last: 0, output: 0x1100, smmu: 1 }],
          memory: [{ base: 0x88000800, length: 0x1000 }],
        },
      ],
    });
    const table = decodeIort(encodeIort(built));
    expect(table.nodes).toEqual(built.nodes);
    const rc = rootComplexOf(table, 0);
    expect(rc && mapId(table, rc, 0x100, ["smmuV3"])).toMatchObject({ id: 0x1100, node: { baseAddress: 0x9090000n } });
    const warnings: string[] = [];
    const second = table.nodes[1]?.offset ?? 0;
    expect(rmrRegions(table, second, undefined, (what) => warnings.push(what))).toEqual([
      { page: 0x88000, count: 2, prot: PROT_READ | PROT_WRITE, type: "direct", streams: [0x1100] },
    ]);
    expect(warnings).toHaveLength(1);
  });

  it("device attributes make the range MMIO", () => {
    const table = decodeIort(golden());
    const rmr = table.nodes.find(({ kind }) => kind === "rmr");
    const device = { ...table, nodes: [{ ...rmr, flags: 0 } as IortNode] };
    expect(rmrRegions(device, 72)[0]).toMatchObject({ prot: PROT_READ | PROT_WRITE | PROT_MMIO, type: "direct" });
  });
});

describe("encode", () => {
  it.each([
    [{ nodes: [{ kind: "smmu" }] }, 'iort.nodes[0].kind is "smmu", expected one of'],
    [{ nodes: [{ kind: "pmcg", colour: 1 }] }, 'iort.nodes[0] has no field "colour", expected'],
    [{ nodes: [{ kind: "pmcg", overflowGsiv: 2 ** 32 }] }, "expected an unsigned integer of 32 bits"],
    [{ nodes: 3 }, "iort.nodes is 3, expected a list"],
    [{ nodes: [{ kind: "rmr", length: 20 }] }, "iort: these fields make no table: offset 0x31"],
  ])("refuses %j", (fields, text) => {
    expect(() => iortCodec.encode(fields)).toThrow(text);
  });

  it("the example decodes", () => {
    expect(iortCodec.decode(bytesOfHex(iortCodec.example)).meaning.length).toBeGreaterThan(0);
  });
});
