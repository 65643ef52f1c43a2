"""What the outside has seen of the log: routes for witnesses, and what they and time stamps cover."""
