import { InputError, linux } from "@iommu-lab/core";
import { type AtsPolicy, type AtsState, type ExplainedAtsPolicy, atsPolicyInSlot, atsReason } from "@iommu-lab/pci";
import { describe, expect, test } from "vitest";

const SLOT = "ats:any";
const plain: AtsPolicy = { id: "plain", source: "none", wants: () => true, basis: () => "derived" };
const explained: ExplainedAtsPolicy = { ...plain, id: "explained", reason: (event) => `${event}: ATS on` };
const state: AtsState = { ridDomain: "IDENTITY", livePasids: 2, required: false };

describe("atsPolicyInSlot", () => {
  test("gives what the slot holds, as it is", () => {
    expect(atsPolicyInSlot(linux("7.2"), SLOT)).toBeUndefined();
    expect(atsPolicyInSlot(linux("7.2", { slots: { [SLOT]: explained } }), SLOT)).toBe(explained);
    expect(atsPolicyInSlot(linux("7.2", { slots: { "ats:other": 1 } }), SLOT)).toBeUndefined();
  });

  test.each([
    ["a text", "plain"],
    ["null", null],
    ["no id", { ...plain, id: undefined }],
    ["an id that is no text", { ...plain, id: 1 }],
    ["no source", { ...plain, source: undefined }],
    ["no wants", { ...plain, wants: undefined }],
    ["wants that is no function", { ...plain, wants: true }],
    ["no basis", { ...plain, basis: "recorded" }],
  ])("%s is refused", (_name, held) => {
    const kernel = linux("7.2", { slots: { [SLOT]: held } });
    expect(() => atsPolicyInSlot(kernel, SLOT)).toThrow(InputError);
    expect(() => atsPolicyInSlot(kernel, SLOT)).toThrow("slot ats:any: expected an ATS policy");
  });
});

test("atsReason: the policy's own words, or its name and the state", () => {
  expect(atsReason(explained, "rid-attach", state)).toBe("rid-attach: ATS on");
  expect(atsReason(plain, "rid-attach", state)).toBe("plain answers so for the RID on IDENTITY with 2 PASIDs");
});
