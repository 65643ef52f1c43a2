"""The invented laboratory of `make run`: people, instruments, protocols, past runs. Everything here is self-written."""
