/** Words of `lspci` for uncorrectable errors, and their fields. */
export const uncorrectableWords: Readonly<Record<string, string>> = {
  DLP: "dataLinkProtocol",
  SDES: "surpriseDown",
  TLP: "poisonedTlp",
  FCP: "flowControlProtocol",
  CmpltTO: "completionTimeout",
  CmpltAbrt: "completerAbort",
  UnxCmplt: "unexpectedCompletion",
  RxOF: "receiverOverflow",
  MalfTLP: "malformedTlp",
  ECRC: "ecrc",
  UnsupReq: "unsupportedRequest",
  ACSViol: "acsViolation",
  UncorrIntErr: "uncorrectableInternal",
  BlockedTLP: "mcBlockedTlp",
  AtomicOpBlocked: "atomicOpEgressBlocked",
  TLPBlockedErr: "tlpPrefixBlocked",
  PoisonTLPBlocked: "poisonedTlpEgressBlocked",
  DMWrReqBlocked: "dmwrEgressBlocked",
  IDECheck: "ideCheckFailed",
  MisIDETLP: "misroutedIdeTlp",
  PCRC_CHECK: "pcrcCheckFailed",
  TLPXlatBlocked: "tlpTranslationEgressBlocked",
};

/** Words of `lspci` for correctable errors, and their fields. */
export const correctableWords: Readonly<Record<string, string>> = {
  RxErr: "receiverError",
  BadTLP: "badTlp",
  BadDLLP: "badDllp",
  Rollover: "replayNumRollover",
  Timeout: "replayTimerTimeout",
  AdvNonFatalErr: "advisoryNonFatal",
  CorrIntErr: "correctedInternal",
  HeaderOF: "headerLogOverflow",
};

/** Words of `lspci` for the bits of ACS, and their fields. */
export const acsWords: Readonly<Record<string, string>> = {
  SrcValid: "sourceValidation",
  TransBlk: "translationBlocking",
  ReqRedir: "p2pRequestRedirect",
  CmpltRedir: "p2pCompletionRedirect",
  UpstreamFwd: "upstreamForwarding",
  EgressCtrl: "p2pEgressControl",
  DirectTrans: "directTranslatedP2p",
};

/** Words of `lspci` for the L1 substates, and their fields. */
export const l1Words: Readonly<Record<string, string>> = {
  "PCI-PM_L1.2": "pciPmL12",
  "PCI-PM_L1.1": "pciPmL11",
  "ASPM_L1.2": "aspmL12",
  "ASPM_L1.1": "aspmL11",
};

/** Words of `lspci` for the Device/Port Type, and their numbers. */
export const portTypeWords: readonly (readonly [string, number])[] = [
  ["Legacy Endpoint", 1],
  ["Root Port", 4],
  ["Upstream Port", 5],
  ["Downstream Port", 6],
  ["PCI-Express to PCI/PCI-X Bridge", 7],
  ["PCI/PCI-X to PCI-Express Bridge", 8],
  ["Root Complex Integrated Endpoint", 9],
  ["Root Complex Event Collector", 10],
  ["Endpoint", 0],
];
