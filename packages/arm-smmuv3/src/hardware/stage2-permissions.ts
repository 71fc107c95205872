import { PTE, PTE_HIGH } from "../layout/vmsav8-64.ts";
import { ATTR } from "./attributes.ts";

const WRITE_BACK = 0xf;
const FORCE_WRITE_BACK = 6;
const AS_STAGE1 = 7;

/** S2AP. A writable-clean page counts as writable. */
export function dataAccess(lo: number, clean: boolean): number {
  const write = clean ? ATTR.s2Write | ATTR.s2Clean : (lo & PTE.s2Write) === 0 ? 0 : ATTR.s2Write;
  return ((lo & PTE.s2Read) === 0 ? 0 : ATTR.s2Read) | write;
}

/** XN[1:0], bits 54:53. Source: Arm ARM D8.4. */
export function executeOf(hi: number, fourWays: boolean): number {
  const never = (hi & PTE_HIGH.uxn) !== 0;
  const other = fourWays && (hi & PTE_HIGH.pxn) !== 0;
  return (never === other ? ATTR.s2Execute : 0) | (never ? 0 : ATTR.s2UserExecute);
}

/** MemAttr of a leaf; with S2FWB it has other codes. Source: Arm ARM D8.6. */
export function memoryType(attribute: number, forces: boolean): number {
  if (!forces) {
    return ((attribute & 0xc) === 0 ? ATTR.s2Device : 0) | (attribute === WRITE_BACK ? ATTR.writeBack : 0);
  }
  if ((attribute & 4) === 0) {
    return ATTR.s2Device;
  }
  const code = attribute & 7;
  return code === FORCE_WRITE_BACK ? ATTR.writeBack | ATTR.forcedWriteBack : code === AS_STAGE1 ? ATTR.writeBack : 0;
}
