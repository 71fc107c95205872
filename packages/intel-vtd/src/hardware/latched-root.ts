/** RTADDR as the last SRTP took it over: what requests are judged by. */
export class LatchedRoot {
  /** RTA. */
  table = 0;
  /** TTM. */
  mode = 0;
  /** SSIRWE: bits 61 and 62 of second-stage entries are the rights, not bits 0 and 1. */
  requestRights = false;
}
