import type { Plugin, Token } from "@iommu-lab/core";
import { BOOT, CLOCK, HOOKS, IOMMU_CORE, KERNEL, MEMORY, SCHEDULER, TRACE, token } from "@iommu-lab/core";
import type { Fabric } from "./fabric/fabric.ts";
import { PciBus } from "./linux/pci-bus.ts";
import type { PciFacts } from "./linux/pci-platform.ts";
import { RESET_TIMES, type ResetTimes } from "./reset/reset-kind.ts";
import type { TopologyDescription } from "./topology/description.ts";
import { Topology } from "./topology/topology.ts";

/** The way from endpoints to memory. */
export const FABRIC: Token<Fabric> = token("pci.fabric");
/** The functions of the platform, as silicon. */
export const TOPOLOGY: Token<Topology> = token("pci.topology");
/** The functions of the platform, as Linux knows them. */
export const PCI_BUS: Token<PciBus> = token("pci.bus");

/** What {@link pci} can be told about the machine beyond its functions. */
export interface PciPluginOptions {
  /** How long silicon takes to reset. */
  readonly resetTimes?: Partial<ResetTimes>;
}

/**
 * Brings a machine's PCI functions: fabric, endpoints as engines of the scheduler, and the scan of the bus at boot.
 *
 * @param description from {@link pciTopology}; any number of platforms can be made from one
 * @param facts what firmware and registers outside config space tell
 * @param options how the silicon behaves
 */
export function pci(description: TopologyDescription, facts: PciFacts = {}, options: PciPluginOptions = {}): Plugin {
  return {
    name: "pci",
    register(host) {
      host.provide(FABRIC, () => host.get(TOPOLOGY).fabric);
      host.provide(TOPOLOGY, () => {
        const topology = new Topology(description, host.get(MEMORY), host.get(CLOCK), host.get(TRACE), {
          ...RESET_TIMES,
          ...options.resetTimes,
        });
        const scheduler = host.get(SCHEDULER);
        for (const endpoint of topology.endpoints) {
          scheduler.addEngine(endpoint);
        }
        for (const engine of [...topology.links, ...topology.dpcs.values()]) {
          scheduler.addEngine(engine);
        }
        return topology;
      });
      host.provide(
        PCI_BUS,
        () =>
          new PciBus(
            host.get(TOPOLOGY),
            host.get(IOMMU_CORE),
            host.get(KERNEL),
            host.get(TRACE),
            host.all(HOOKS),
            facts,
          ),
      );
      host.add(BOOT, { name: "pci scan", order: 200, run: () => host.get(PCI_BUS).scan() });
      host.add(BOOT, { name: "pci port drivers", order: 400, run: () => host.get(PCI_BUS).bindPorts() });
    },
  };
}
