import type { Scenario } from "./scenario.ts";
import type { Stage } from "./stage.ts";

/** The PASID that the scenario uses. */
const PASID = 1;

function needsPasid(stage: Stage): string | undefined {
  if (stage.device.iommu === undefined) {
    return "no IOMMU driver serves the function";
  }
  return stage.device.iommu.maxPasids === 0 ? "no PASIDs: function, unit or mode has none" : undefined;
}

/** Puts the group on the DMA API's translated domain. @throws KernelError when the driver insists on IDENTITY */
function toDma(stage: Stage): void {
  if (stage.group.defaultDomain?.type === "DMA") {
    return;
  }
  stage.storeType("DMA");
}

/**
 * When is ATS on? One function from probe to release: IDENTITY, PASIDs, DMA, BLOCKED, a reset.
 *
 * Every step is one that a user of Linux can take, `blocked-with-pasid` aside: no user interface leads there, so the
 * core's own attach does it.
 */
export const atsLifecycle: Scenario = {
  id: "ats-lifecycle",
  title: "ATS from probe to release",
  question: "When is ATS on, who can still reach memory, what goes out on the wire?",
  cmdline: "iommu.passthrough=1",
  steps: [
    {
      id: "boot-identity",
      title: "boot with iommu.passthrough=1: probed, on IDENTITY",
      run: (stage) => {
        stage.boot();
      },
    },
    {
      id: "bind",
      title: "its driver binds",
      run: (stage) => {
        stage.bind();
      },
    },
    {
      id: "pasid-first",
      title: "PASID 1 attached",
      notApplicable: needsPasid,
      run: (stage) => {
        stage.attachPasid(PASID);
      },
    },
    {
      id: "pasid-last",
      title: "PASID 1 removed",
      notApplicable: needsPasid,
      run: (stage) => {
        stage.detachPasid(PASID);
      },
    },
    {
      id: "dma",
      title: "unbound, sysfs type DMA, bound again",
      run: (stage) => {
        stage.unbind();
        try {
          toDma(stage);
        } finally {
          stage.bind();
        }
      },
    },
    {
      id: "blocked",
      title: "unbound, a user claims ownership: BLOCKED",
      run: (stage) => {
        stage.unbind();
        stage.claim();
      },
    },
    {
      id: "blocked-with-pasid",
      title: "released; RID on a DMA domain, PASID 1 attached, then the RID on BLOCKED",
      via: "core",
      notApplicable: needsPasid,
      run: (stage) => {
        stage.release();
        stage.translateRid();
        stage.attachPasid(PASID);
        stage.platform.run(stage.core.setGroupDomain(stage.group, stage.core.blockingDomain(stage.group)));
      },
    },
    {
      id: "dma-again",
      title: "default domain, PASID 1 removed, sysfs type DMA, bound",
      run: (stage) => {
        stage.backToDefault(PASID);
        try {
          toDma(stage);
        } finally {
          stage.bind();
        }
      },
    },
    {
      id: "reset-prepared",
      title: "FLR: after prepare, before the function is told",
      run: (stage) => {
        stage.resetTo("prepared");
      },
    },
    {
      id: "reset-done",
      title: "FLR: after done, before config space is restored",
      run: (stage) => {
        stage.resetTo("done");
      },
    },
    {
      id: "reset-restored",
      title: "FLR: config space restored",
      run: (stage) => {
        stage.resetTo("restored");
      },
    },
    {
      id: "unbind",
      title: "its driver unbinds",
      run: (stage) => {
        stage.unbind();
      },
    },
    {
      id: "release",
      title: "the kernel forgets the function (sysfs remove)",
      run: (stage) => {
        stage.remove();
      },
    },
  ],
};
