import { smmuv3 } from "@iommu-lab/arm-smmuv3";
import { PROT_READ, PROT_WRITE, Recorder, createPlatform, linux } from "@iommu-lab/core";
import { FABRIC, PCI_BUS, pci, pciTopology } from "@iommu-lab/pci";
import { expect, it } from "vitest";

const topology = pciTopology({
  rootPorts: [
    {
      bdf: "00:01.0",
      endpoint: { bdf: "01:00.0", config: { vendor: 0x1af4, device: 0x1041, class: 0x020000, ats: {} } },
    },
  ],
});

it("a device reaches what its driver mapped, and no longer after the unmap", () => {
  const platform = createPlatform({ kernel: linux("7.2"), plugins: [pci(topology), smmuv3({ ats: true })] });
  const recorder = new Recorder(platform.trace);
  platform.boot();

  const device = platform.host.get(PCI_BUS).deviceAt("01:00.0");
  if (device === undefined) {
    throw new Error("the kernel found no device");
  }
  const endpoint = platform.host.get(FABRIC).endpoint(0x0100);
  const buffer = platform.memory.allocate(4096, 4096, "driver", "buffer");
  const page = platform.run(platform.iommu.dma.map(device, buffer / 4096, 1, PROT_READ | PROT_WRITE));
  endpoint.dmaWrite(page, 0, 0x1234);
  expect(platform.memory.load32(buffer)).toBe(0x1234);

  platform.run(platform.iommu.dma.unmap(device, page, 1));
  expect(endpoint.dmaWrite(page, 0, 0x5678).status).not.toBe("success");
  expect(platform.memory.load32(buffer)).toBe(0x1234);
  expect(recorder.events.some(({ type }) => type === "command:submit")).toBe(true);
});
