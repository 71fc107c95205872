import { InputError, bytesOfHex } from "@iommu-lab/core";
import { pciLayouts } from "@iommu-lab/pci";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

function codec(kind: string): (typeof pciLayouts)[number] {
  const found = pciLayouts.find((one) => one.kind === kind);
  if (found === undefined) {
    throw new Error(`no ${kind}`);
  }
  return found;
}

function digits(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** Bytes that a kind accepts: those of its example with everything random that does not name the kind. */
function bytesOf(kind: string): fc.Arbitrary<Uint8Array> {
  const example = bytesOfHex(codec(kind).example);
  const isHeader = kind.endsWith("header");
  const isExtended = !isHeader && example.length >= 4 && pciLayouts.indexOf(codec(kind)) > standardEnd;
  const most = isHeader ? 64 : isExtended ? 600 : 192;
  return fc.uint8Array({ minLength: isHeader ? 64 : 12, maxLength: most }).map((bytes) => {
    const made = bytes.slice();
    if (isHeader) {
      made[0x0e] = ((made[0x0e] ?? 0) & 0x80) | ((example[0x0e] ?? 0) & 0x7f);
      return made;
    }
    made[0] = example[0] ?? 0;
    if (isExtended) {
      made[1] = example[1] ?? 0;
    }
    if (kind.startsWith("cxl")) {
      for (const at of [4, 5, 8, 9]) {
        made[at] = example[at] ?? 0;
      }
    }
    return made;
  });
}

const standardEnd = pciLayouts.findIndex(({ kind }) => kind === "fpb-cap");
const kinds = pciLayouts.map(({ kind }) => kind);

describe("every capability", () => {
  test("has a name of its own", () => {
    expect(new Set(kinds).size).toBe(kinds.length);
    for (const kind of ["ats-cap", "pri-cap", "pasid-cap", "acs-cap", "sriov-cap", "cxl-dvsec", "pcie-cap"]) {
      expect(kinds).toContain(kind);
    }
  });

  test.each(kinds)("%s: its example comes back", (kind) => {
    const example = bytesOfHex(codec(kind).example);
    const { fields, meaning } = codec(kind).decode(example);
    expect(digits(codec(kind).encode(fields))).toBe(digits(example));
    expect(meaning.every((sentence) => sentence.endsWith("."))).toBe(true);
  });

  test.each(kinds)("%s: any bytes come back", (kind) => {
    fc.assert(
      fc.property(bytesOf(kind), (bytes) => {
        const { fields } = codec(kind).decode(bytes);
        // What stands in JSON is what counts.
        const read = JSON.parse(JSON.stringify(fields)) as typeof fields;
        const back = codec(kind).encode(read);
        expect(digits(back)).toBe(digits(bytes));
        expect(codec(kind).decode(back).fields).toEqual(fields);
      }),
      { numRuns: 25 },
    );
  });

  test.each(kinds)("%s: fields of one bit and of many come back one by one", (kind) => {
    const { fields } = codec(kind).decode(bytesOfHex(codec(kind).example));
    for (const name of Object.keys(fields)) {
      // What decides about the registers behind it.
      if (
        /^(id|version|next|bytes|reserved|header|numEntries|flags|length|command\.type)/.test(name) ||
        name.includes("Count")
      ) {
        continue;
      }
      const encoded = codec(kind).encode({ ...fields, [name]: 1 });
      expect(codec(kind).decode(encoded).fields[name], `${kind} ${name}`).toBe(1);
    }
  });
});

/** The vectors of a fact sheet: bytes from the capability's start, and what they mean. */
const golden: readonly (readonly [what: string, kind: string, hex: string, fields: Record<string, number>])[] = [
  [
    "ATS, 16 invalidations, enabled",
    "ats-cap",
    "0f 00 01 00 10 00 00 80",
    { next: 0, "capability.invalidateQueueDepth": 0x10, "control.stu": 0, "control.enable": 1 },
  ],
  [
    "ATS with a capability behind it, page aligned",
    "ats-cap",
    "0f 00 01 11 30 00 00 80",
    { next: 0x110, "capability.pageAlignedRequest": 1, "control.enable": 1 },
  ],
  [
    "ATS disabled, STU 4",
    "ats-cap",
    "0f 00 01 00 20 00 04 00",
    { "capability.invalidateQueueDepth": 0, "control.stu": 4, "control.enable": 0 },
  ],
  [
    "PASID of 20 bits, executable and privileged",
    "pasid-cap",
    "1b 00 01 12 06 14 01 00",
    {
      next: 0x120,
      "capability.executePermission": 1,
      "capability.privilegedMode": 1,
      "capability.maxPasidWidth": 20,
      "control.enable": 1,
    },
  ],
  [
    "PRI enabled, PASID required",
    "pri-cap",
    "13 00 01 14 01 00 00 80 20 00 00 00 20 00 00 00",
    {
      "control.enable": 1,
      "status.prgResponsePasidRequired": 1,
      "status.stopped": 0,
      outstandingCapacity: 32,
      outstandingAllocation: 32,
    },
  ],
  [
    "PRI disabled and stopped",
    "pri-cap",
    "13 00 01 14 00 00 00 81 20 00 00 00 00 00 00 00",
    { "control.enable": 0, "status.stopped": 1, outstandingAllocation: 0 },
  ],
  [
    "ACS, four on",
    "acs-cap",
    "0d 00 01 00 5f 00 1d 00",
    {
      "capability.sourceValidation": 1,
      "capability.p2pEgressControl": 0,
      "capability.directTranslatedP2p": 1,
      "control.sourceValidation": 1,
      "control.translationBlocking": 0,
      "control.p2pRequestRedirect": 1,
      "control.p2pCompletionRedirect": 1,
      "control.upstreamForwarding": 1,
    },
  ],
  [
    "ACS with an egress control vector of eight bits",
    "acs-cap",
    "0d 00 01 00 7f 08 3d 00 ff 00 00 00",
    { "capability.egressControlVectorSize": 8, "control.p2pEgressControl": 1, egressControlVector: 0xff },
  ],
  ["ARI, next function 1", "ari-cap", "0e 00 01 00 00 01 00 00", { "capability.nextFunction": 1 }],
  [
    "CXL device, type 2",
    "cxl-dvsec",
    "23 00 01 00 98 1e c2 03 00 00 d7 00 07 00 00 00",
    {
      "header1.vendor": 0x1e98,
      "header1.revision": 2,
      "header1.length": 0x3c,
      "capability.cacheCapable": 1,
      "capability.memCapable": 1,
      "capability.hdmCount": 1,
      "capability.cacheWritebackInvalidateCapable": 1,
      "capability.cxlResetCapable": 1,
      "control.cacheEnable": 1,
      "control.ioEnable": 1,
      "control.memEnable": 1,
    },
  ],
  [
    "CXL port, SBR unmasked",
    "cxl-port-dvsec",
    "23 00 01 00 98 1e 80 02 03 00 00 00 01 00 00 00",
    { "header1.length": 0x28, "control.unmaskSbr": 1 },
  ],
  [
    "register locator: component and device registers",
    "cxl-register-locator-dvsec",
    "23 00 01 00 98 1e c0 01 08 00 00 00 00 01 00 00 00 00 00 00 00 03 01 00 00 00 00 00",
    {
      "block0.low.id": 1,
      "block0.low.bir": 0,
      "block0.low.offset": 0,
      "block1.low.id": 3,
      "block1.low.offset": 1,
      "block1.high.offset": 0,
    },
  ],
  [
    "IDE, one selective stream",
    "ide-cap",
    "30 00 01 00 42 00 00 01 00 00 00 00",
    {
      "capability.selectiveStreams": 1,
      "capability.linkStream": 0,
      "capability.ideKm": 1,
      "capability.selectiveStreamsMinus1": 0,
      "capability.teeLimitedStream": 1,
    },
  ],
];

describe("golden vectors", () => {
  test.each(golden)("%s", (_what, kind, hex, wanted) => {
    const { fields } = codec(kind).decode(bytesOfHex(hex));
    expect(fields).toMatchObject(wanted);
    expect(digits(codec(kind).encode(fields))).toBe(hex);
  });

  test("Device Capabilities with FLR, and with TEE-IO", () => {
    const base = bytesOfHex(codec("pcie-cap").example);
    for (const [value, tee] of [
      [0x1000_8000, 0],
      [0x5000_8000, 1],
    ] as const) {
      new DataView(base.buffer).setUint32(4, value, true);
      expect(codec("pcie-cap").decode(base).fields).toMatchObject({
        "deviceCapabilities.functionLevelReset": 1,
        "deviceCapabilities.roleBasedErrorReporting": 1,
        "deviceCapabilities.teeIo": tee,
      });
    }
  });

  test("an IDE stream with its associations", () => {
    const fields = {
      "capability.selectiveStreams": 1,
      "selective0.capability.addressBlocks": 2,
      "selective0.control.enable": 1,
      "selective0.control.streamId": 7,
      "selective0.ridAssociation2.valid": 1,
      "selective0.ridAssociation2.base": 0x100,
      "selective0.address1.limitHigh": 0x12,
    };
    const bytes = codec("ide-cap").encode(fields);
    expect(bytes).toHaveLength(0xc + 20 + 2 * 12);
    expect([bytes[0x0c], bytes[0x13], bytes[0x1c], bytes[0x1d], bytes[0x1e], bytes[0x30]]).toEqual([
      2, 7, 1, 0, 1, 0x12,
    ]);
    expect(codec("ide-cap").decode(bytes).fields).toMatchObject(fields);
  });

  test("an egress control vector of 256 bits", () => {
    const bytes = codec("acs-cap").encode({
      "capability.p2pEgressControl": 1,
      "capability.egressControlVectorSize": 0,
      egressControlVector7: 0x8000_0000,
    });
    expect(bytes).toHaveLength(8 + 32);
    expect(bytes[39]).toBe(0x80);
  });
});

describe("what cannot be", () => {
  test.each([
    ["another id", "ats-cap", "13 00 01 00 10 00 00 80", "capability id is 0x13, expected 0xf"],
    ["another vendor", "cxl-dvsec", "23 00 01 00 86 80 c2 03 00 00 00 00", "DVSEC vendor is 0x8086, expected 0x1e98"],
    ["another DVSEC", "cxl-dvsec", "23 00 01 00 98 1e c2 03 03 00 00 00", "DVSEC id is 0x3, expected 0x0"],
    ["nothing", "ats-cap", "0f", "1 bytes given, expected 4 to 3840"],
    ["a header of a bridge", "pci-header", `${"00 ".repeat(14)}01${" 00".repeat(49)}`, "header type 0x1, expected 0"],
  ])("is refused when decoded: %s", (_what, kind, hex, message) => {
    expect(() => codec(kind).decode(bytesOfHex(hex), "f")).toThrow(InputError);
    expect(() => codec(kind).decode(bytesOfHex(hex), "f")).toThrow(message);
  });

  test.each([
    ["no such field", { "control.enabled": 1 }, "field control.enabled is no field of this capability"],
    ["too large", { "control.stu": 32 }, "field control.stu is 32, expected 0 to 31"],
    ["negative", { "control.stu": -1 }, "control.stu is -1, expected 0 to"],
    ["no number", { "control.stu": "x" }, 'control.stu is "x", expected 0 to'],
    ["a list", { "control.stu": [1] }, "control.stu is [1], expected 0 to"],
    ["cut off", { "control.enable": 1, bytes: 4 }, "bytes is 4, but byte 0x7 is set by a field"],
    ["another id", { id: 0x13 }, "id is 19, expected 0xf"],
    ["reserved bits without an offset", { reserved: 1 }, "reserved is 1, expected dwords by offset"],
    ["reserved bits at an odd offset", { reserved: { "0x5": 1 } }, "expected a multiple of 4"],
  ])("is refused when encoded: %s", (_what, fields, message) => {
    expect(() => codec("ats-cap").encode(fields)).toThrow(InputError);
    expect(() => codec("ats-cap").encode(fields)).toThrow(message);
  });

  test("true, false and hexadecimal strings are numbers", () => {
    const bytes = codec("ats-cap").encode({ "control.enable": true, "control.stu": "0x1f" });
    expect(digits(bytes)).toBe("0f 00 01 00 00 00 1f 80");
  });
});
