"""Security alerts: failed signings and attacks on accounts that may sign, found in the log and told to the security contact (11.300(d))."""
