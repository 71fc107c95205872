import { accelerator, atsLifecycle, measure, play, subject } from "@iommu-lab/scenario";
import { backends } from "iommu-lab";
import { describe, expect, it } from "vitest";

describe("the probe changes nothing", () => {
  it.each(backends)("$id: the trace is the same, byte for byte, with and without it", (backend) => {
    const put = subject({ backend, device: accelerator });
    const alone = JSON.stringify(play(atsLifecycle, put).events);
    expect(JSON.stringify(measure(atsLifecycle, put).events)).toBe(alone);
    expect(alone.length).toBeGreaterThan(10_000);
  });

  it.each(backends)("$id: the same scenario is measured the same twice", (backend) => {
    const put = subject({ backend, device: accelerator });
    expect(measure(atsLifecycle, put).cells).toEqual(measure(atsLifecycle, put).cells);
  });
});
