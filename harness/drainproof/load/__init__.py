"""Load: what is to be sent (`plan`), what came of it (`ledger`), and the child process that does it (`engine`)."""
