import { linux, strategyOf } from "@iommu-lab/core";
import { expect, it } from "vitest";

it("a plugin without a strategy for the kernel says which it has", () => {
  expect(strategyOf(linux("7.2"), { "linux-7.2": 1 }, "x")).toBe(1);
  expect(() => strategyOf(linux("6.1"), { "linux-7.2": 1 }, "x")).toThrow(
    "x has no driver for linux-6.1: expected one of linux-7.2",
  );
});
