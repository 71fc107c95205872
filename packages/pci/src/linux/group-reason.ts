import { formatRid } from "../fabric/request.ts";
import { acsFlagNames } from "./acs-flags.ts";
import { type AcsRule, type AcsVerdict, aloneBecause } from "./acs.ts";
import type { GroupDecision } from "./group.ts";
import type { PciDev } from "./pci-dev.ts";

/** One reason why a function is in its group: a decision of the kernel's search, as data and as a sentence. */
export interface GroupReason {
  /** The member it is about, `dddd:bb:dd.f`. */
  readonly member: string;
  /** Which rule decided; see {@link GroupDecision}. */
  readonly rule: GroupDecision["rule"];
  /** The function whose properties decided: a port, a bridge, a sibling; absent for a function that stands for itself. */
  readonly hop?: string;
  /** The function it belongs together with by this decision; absent when it starts a group or stays apart. */
  readonly with?: string;
  /** The ACS bits that are missing there, by `lspci`'s names. */
  readonly missing?: readonly string[];
  /** By which rule the function at `hop` counts as isolated or not. */
  readonly acsRule?: AcsRule;
  /** The requester ID that two functions share. */
  readonly requesterId?: string;
  /** Where the rule stands. */
  readonly source: string;
  /** The same in plain words. */
  readonly text: string;
}

/** What a decision of the search for `member` says. @param kernel such as `linux-7.2` */
export function reasonOf(member: PciDev, decision: GroupDecision, kernel: string): GroupReason {
  const version = `Linux ${kernel.replace("linux-", "")}`;
  const base = { member: member.name, rule: decision.rule };
  const at = (name: string, acs: AcsVerdict | undefined): string =>
    acs === undefined || acs.source === "" ? `${version} ${name}` : `${version} ${name}, ${acs.source}`;
  switch (decision.rule) {
    case "requester-id": {
      const requesterId = formatRid(decision.alias.rid);
      return {
        ...base,
        hop: decision.alias.dev.name,
        with: decision.alias.dev.name,
        requesterId,
        source: at("pci_for_each_dma_alias()", undefined),
        text: requesterText(decision),
      };
    }
    case "path":
      return {
        ...base,
        hop: decision.hop.name,
        with: decision.bridge.name,
        ...ofVerdict(decision.verdict),
        source: at("pci_device_group()", decision.verdict),
        text:
          `${decision.dev.name} belongs together with ${decision.bridge.name}, because on the way to the root ` +
          `${decision.hop.name} ${decision.verdict.because}`,
      };
    case "path-isolated":
      return {
        ...base,
        hop: decision.bridge.name,
        source: at("pci_acs_path_enabled()", undefined),
        text: `everything from ${decision.bridge.name} up to the root isolates, so nothing above ${decision.dev.name} joins`,
      };
    case "alias":
      return {
        ...base,
        hop: decision.other.name,
        with: decision.other.name,
        source: at("get_pci_alias_group()", undefined),
        text: `${decision.dev.name} and ${decision.other.name} use one requester ID, by a quirk`,
      };
    case "slot":
      return {
        ...base,
        hop: decision.dev.name,
        with: decision.other.name,
        ...ofVerdict(decision.verdict),
        source: at("get_pci_function_alias_group()", decision.verdict),
        text:
          `${decision.dev.name} shares its slot with ${decision.other.name} and neither is kept apart: ` +
          (decision.verdict.because === decision.otherVerdict.because
            ? `each ${decision.verdict.because}`
            : `${decision.dev.name} ${decision.verdict.because}, ${decision.other.name} ${decision.otherVerdict.because}`),
      };
    default:
      return {
        ...base,
        ...ofVerdict(decision.verdict),
        source: at("pci_device_group()", decision.verdict),
        text: newText(decision),
      };
  }
}

function ofVerdict(verdict: AcsVerdict): Pick<GroupReason, "missing" | "acsRule"> {
  return {
    ...(verdict.missing === 0 ? {} : { missing: acsFlagNames(verdict.missing) }),
    acsRule: verdict.rule,
  };
}

function requesterText(decision: Extract<GroupDecision, { rule: "requester-id" }>): string {
  const { dev, alias } = decision;
  const id = formatRid(alias.rid);
  switch (alias.rule) {
    case "real-dma-device":
      return `DMA of ${dev.name} carries the requester ID of ${alias.dev.name}, which does it for all behind it`;
    case "pcie-to-pci-bridge":
      return `DMA of ${dev.name} may carry ${id}, the ID that the PCIe-to-PCI bridge ${alias.dev.name} lends to all behind it`;
    default:
      return `DMA of ${dev.name} may carry ${id}, the ID of the bridge ${alias.dev.name} itself`;
  }
}

function newText(decision: Extract<GroupDecision, { rule: "new" }>): string {
  const { dev, verdict } = decision;
  // The kernel asks for ACS among functions of one slot only, so what a lone function lacks did not matter.
  if (!verdict.enabled && !dev.multifunction) {
    return `${dev.name} starts a group: it ${aloneBecause(dev)}`;
  }
  return verdict.enabled
    ? `${dev.name} starts a group: it ${verdict.because}`
    : `${dev.name} starts a group: no other function of its slot that is not kept apart has one yet; it ${verdict.because}`;
}
