"""Readers of one kind of file each. They run in the reading process only; what they raise besides `Refused` is a broken file."""
