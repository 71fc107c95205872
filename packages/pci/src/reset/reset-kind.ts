/**
 * What makes a function lose its state:
 *
 * - `flr`, `af-flr`: Initiate FLR of the PCI Express or of the Advanced Features capability
 * - `d3hot-d0`: back to D0 from D3hot, with No_Soft_Reset = 0
 * - `secondary-bus`: Secondary Bus Reset of a bridge above
 * - `link-disable`, `dpc`: the link above went down by Link Disable or by Downstream Port Containment
 * - `slot-power`: the hot-plug slot above switched power off
 * - `power-off`: the function alone lost power (D3cold)
 * - `conventional`: a hot reset whose origin does not matter
 * - `vf-disable`: VF Enable of the PF went to 0
 * - `cxl`: Initiate CXL Reset of the device
 */
export type ResetKind =
  | "flr"
  | "af-flr"
  | "d3hot-d0"
  | "secondary-bus"
  | "link-disable"
  | "dpc"
  | "slot-power"
  | "power-off"
  | "conventional"
  | "vf-disable"
  | "cxl";

/** What one kind of reset does to a function that it reaches. */
export interface ResetEffect {
  /** `function`: the one addressed; `below`: everything below the port; `device`: the CXL functions of a device. */
  readonly scope: "function" | "below" | "device";
  /**
   * Which registers are lost: `flr` keeps what an FLR keeps (link settings, CXL.cache and CXL.mem state), `conventional`
   * keeps sticky bits, `fundamental` keeps nothing.
   */
  readonly registers: "flr" | "conventional" | "fundamental";
  /** Whether the link above is down meanwhile. */
  readonly linkDown: boolean;
  /** Where it is stated. */
  readonly source: string;
}

const below = (registers: ResetEffect["registers"], source: string): ResetEffect => ({
  scope: "below",
  registers,
  linkDown: true,
  source,
});

const single = (registers: ResetEffect["registers"], source: string): ResetEffect => ({
  scope: "function",
  registers,
  linkDown: false,
  source,
});

/**
 * The table of resets. What all of them have in common is not in it: the ATC is emptied, page requests and open
 * requests are forgotten, Invalidate Requests that wait are dropped, ATS, PRI, PASID and interrupts are disabled, and a
 * PF loses VF Enable and with it its VFs.
 */
export const RESET_EFFECTS: Readonly<Record<ResetKind, ResetEffect>> = {
  flr: single("flr", "PCIe 6.0 §6.6.2"),
  "af-flr": single("flr", "Advanced Capabilities for Conventional PCI ECN"),
  "d3hot-d0": single("flr", "PCIe 6.0 §5.3.1.4"),
  "vf-disable": single("conventional", "PCIe 6.0 §9.3.3.3.1"),
  "power-off": single("fundamental", "PCIe 6.0 §5.3.1.4.2"),
  cxl: { scope: "device", registers: "conventional", linkDown: false, source: "CXL 3.1 §9.7, unconfirmed" },
  "secondary-bus": below("conventional", "PCIe 6.0 §6.6.1"),
  "link-disable": below("conventional", "PCIe 6.0 §7.5.3.7"),
  dpc: below("conventional", "PCIe 6.0 §6.2.11, unconfirmed"),
  conventional: below("conventional", "PCIe 6.0 §6.6.1"),
  "slot-power": below("fundamental", "PCIe 6.0 §6.7.1.8"),
};

const MS = 1_000_000;

/** How long silicon takes, in ns of virtual time. */
export interface ResetTimes {
  /** From the end of an FLR's first moment until the function answers. Default 100 ms, the most that is allowed. */
  readonly flrNs: number;
  /** From D3hot to D0. Default 10 ms. */
  readonly d3hotNs: number;
  /** From the release of a link until it is active. Default 20 ms. */
  readonly trainNs: number;
  /** From an active link until functions answer without Request Retry Status. Default 100 ms. */
  readonly readyNs: number;
  /** How long a root port is busy after containment was triggered. Default 0. */
  readonly rpBusyNs: number;
}

/** The defaults of {@link ResetTimes}. Sources: PCIe 6.0 §5.9, §6.6.1, §6.6.2; training time is the model's choice. */
export const RESET_TIMES: ResetTimes = {
  flrNs: 100 * MS,
  d3hotNs: 10 * MS,
  trainNs: 20 * MS,
  readyNs: 100 * MS,
  rpBusyNs: 0,
};
