import { parseOutput } from "@iommu-lab/truth";
import { describe, expect, it } from "vitest";

describe("output of a phase", () => {
  it.each([
    ["DMA\nrc=0\nidentity", { typeBefore: "DMA", typeAfter: "identity", result: "0" }],
    [
      "DMA-FQ\nsh: write error: Operation not permitted\nrc=1\nDMA-FQ",
      { typeBefore: "DMA-FQ", typeAfter: "DMA-FQ", result: "EPERM" },
    ],
    ["DMA\nsh: write error: Invalid argument\nrc=1\nDMA", { typeBefore: "DMA", typeAfter: "DMA", result: "EINVAL" }],
    ["bus\nsh: write error: Inappropriate ioctl for device\nrc=1", { methods: "bus", result: "ENOTTY" }],
    ["identity", { typeAfter: "identity" }],
    ["identity\nrc=0", { typeBefore: "identity", result: "0" }],
    ["flr pm bus\nrc=0", { methods: "flr pm bus", result: "0" }],
    ["rc=7", { result: "rc=7" }],
    ["", {}],
  ])("%j", (output, expected) => {
    expect(parseOutput(output)).toStrictEqual({
      typeBefore: undefined,
      typeAfter: undefined,
      methods: undefined,
      result: undefined,
      ...expected,
    });
  });
});
