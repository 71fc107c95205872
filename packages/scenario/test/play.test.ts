import { KernelError, KernelOops, withLock } from "@iommu-lab/core";
import { pciDev } from "@iommu-lab/pci";
import { type Scenario, type Stage, nic, play, subject } from "@iommu-lab/scenario";
import { expect, it } from "vitest";

const put = subject({ backend: { id: "none", title: "", cmdline: "", plugins: () => [] }, device: nic });

function lockDevice(stage: Stage, fail: boolean): void {
  stage.platform.run(
    // eslint-disable-next-line require-yield
    withLock(pciDev(stage.device).lock, function* () {
      if (fail) {
        throw new KernelOops("NULL pointer");
      }
    }),
  );
}

it("a step ends measured, refused, not-applicable, or unknown after an oops left a lock held", () => {
  const scenario: Scenario = {
    id: "x",
    title: "",
    question: "",
    cmdline: "",
    steps: [
      { id: "boot", title: "", run: (stage) => stage.boot() },
      {
        id: "refused",
        title: "",
        run: () => {
          throw new KernelError("EBUSY", "not now");
        },
      },
      { id: "absent", title: "", notApplicable: () => "no such thing", run: () => undefined },
      { id: "oops", title: "", run: (stage) => lockDevice(stage, true) },
      { id: "after", title: "", run: (stage) => lockDevice(stage, false) },
    ],
  };
  const { outcomes } = play(scenario, put);
  expect(outcomes.map(({ status, errno }) => [status, errno])).toEqual([
    ["measured", undefined],
    ["refused", "EBUSY"],
    ["not-applicable", undefined],
    ["refused", "oops"],
    ["unknown", undefined],
  ]);
  expect(outcomes[4]?.note).toContain("held by kernel");
});
