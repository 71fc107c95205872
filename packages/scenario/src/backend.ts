import type { KernelProfile, Platform, Plugin } from "@iommu-lab/core";
import { createPlatform, linux } from "@iommu-lab/core";
import { cxl } from "@iommu-lab/cxl";
import { CAP_ID_EXP, ConfigSpace, PCIE_TYPE, type TopologyDescription, pci, pciTopology } from "@iommu-lab/pci";
import type { DeviceUnderTest } from "./devices.ts";
import type { Subject } from "./stage.ts";

/** An IOMMU with its driver, as a column of a comparison. */
export interface Backend {
  /** Such as `arm-smmuv3`, `intel-vtd:legacy`. */
  readonly id: string;
  /** One line for readers. */
  readonly title: string;
  /** Kernel parameters without which the backend does not run in this mode. */
  readonly cmdline: string;
  /** Host page of the interrupt doorbell when this IOMMU translates MSIs; undefined when another unit remaps them. */
  readonly doorbell?: number;
  /** Its plugins; called for every platform. */
  plugins(): readonly Plugin[];
}

/** A policy that replaces a shipped one. */
export interface NamedPolicy {
  /** Such as `vtd-track-pasids`. */
  readonly id: string;
  /** One line for readers. */
  readonly title: string;
  /** The kernel profile's slot. */
  readonly slot: string;
  /** The policy object. */
  readonly value: unknown;
}

/** What a {@link Subject} is made of. */
export interface SubjectOptions {
  /** The IOMMU. */
  readonly backend: Backend;
  /** The function under test. */
  readonly device: DeviceUnderTest;
  /** Kernel version. Default `7.2`. */
  readonly kernel?: string;
  /** Kernel parameters besides the backend's and the scenario's; they come last and win. */
  readonly cmdline?: string;
  /** Policies that replace shipped ones. */
  readonly policies?: readonly NamedPolicy[];
}

/**
 * Puts a device on a platform: below a root port with all ACS controls, or beside it when it is integrated into the root
 * complex.
 *
 * @throws InputError for an unknown kernel
 */
export function subject(options: SubjectOptions): Subject {
  const { backend, device } = options;
  const topology = topologyFor(device);
  const policies = options.policies ?? [];
  const slots = Object.fromEntries(policies.map(({ slot, value }) => [slot, value]));
  const version = options.kernel ?? "7.2";
  const profile = (cmdline: string): KernelProfile => linux(version, { cmdline, slots });
  const names = [backend.id, profile("").id, device.id, ...policies.map(({ id }) => id)];
  const [vendor = "", kernel = "", under = "", ...extra] = names;
  return {
    id: `${vendor}/${kernel}/${[under, ...extra].join("+")}`,
    rid: device.rid,
    ...(backend.doorbell === undefined ? {} : { doorbell: backend.doorbell }),
    create: (cmdline): Platform =>
      createPlatform({
        kernel: profile([cmdline, backend.cmdline, options.cmdline ?? ""].join(" ").trim()),
        plugins: [pci(topology), cxl(), ...backend.plugins()],
      }),
  };
}

/** The root port above the device under test. */
const ROOT_PORT = 0x0008;

/**
 * The machine around a device: one root port with all ACS controls and the device below it, or the device alone when it
 * is integrated into the root complex or its place is on bus 0.
 */
function topologyFor(device: DeviceUnderTest): TopologyDescription {
  const endpoint = { rid: device.rid, config: device.config() };
  const config = new ConfigSpace(endpoint.config);
  const express = config.findCapability(CAP_ID_EXP);
  const type = express === 0 ? undefined : (config.read16(express + 2) >>> 4) & 0xf;
  if (device.rid >>> 8 === 0 || type === PCIE_TYPE.integratedEndpoint) {
    return pciTopology({ integrated: [endpoint] });
  }
  return pciTopology({ rootPorts: [{ rid: ROOT_PORT, endpoint }] });
}
