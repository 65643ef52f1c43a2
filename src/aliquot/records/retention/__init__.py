"""How long records are kept: schedules per kind, legal holds, deletion of what is due. The database refuses any earlier deletion."""
