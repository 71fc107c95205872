import { decodeCapabilities } from "@iommu-lab/intel-vtd";
import { describe, expect, test } from "vitest";

describe("CAP and ECAP", () => {
  test("the recorded scalable unit", () => {
    const caps = decodeCapabilities(0x222f0606, 0x81d2008c, 0x00f00f4e, 0x00008800);
    expect(caps).toMatchObject({
      domainIdBits: 16,
      rwbf: false,
      cm: false,
      sagaw: 6,
      mgaw: 48,
      faultRecordOffset: 0x220,
      faultRecords: 1,
      sslps: 3,
      psi: true,
      mamv: 18,
      writeDrain: true,
      readDrain: true,
      fs1gp: true,
      fs5lp: false,
      esrtps: true,
      qi: true,
      dt: true,
      pt: true,
      sc: false,
      iotlbOffset: 0xf0,
      smts: true,
      fsts: true,
      ssts: false,
      pasid: false,
      smpwcs: false,
    });
  });

  test("the recorded legacy unit", () => {
    const caps = decodeCapabilities(0x222f0606, 0x80d2008c, 0x00f00f4e, 0);
    expect(caps).toMatchObject({ smts: false, fsts: false, dt: true, pt: true, fs1gp: false });
  });
});
