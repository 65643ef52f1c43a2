"""`aliquot worker`: jobs, sequencer and run take-over in a process without HTTP, beside servers on an external PostgreSQL."""
