/**
 * PCI Express: what silicon does (config space, fabric, endpoint) and what Linux does with it.
 *
 * @packageDocumentation
 */
export { type CompletionStatus, type Delivery, type IommuHardware, type PageRequest, type RootComplex, TranslateResult } from "./fabric/iommu-hardware.ts";
export {
  AT_MASK,
  AT_TRANSLATED,
  AT_TRANSLATION_REQUEST,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_SOURCE_CXL,
  REQUEST_T,
  REQUEST_WRITE,
  REQUEST_XT,
  type Rid,
  formatRid,
} from "./fabric/request.ts";
export { type AtsEvent, type AtsPolicy, type AtsState } from "./linux/ats-policy.ts";
