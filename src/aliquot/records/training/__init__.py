"""Training records: who was trained in what, until when. Policies and signing rules may ask for one that is in date (21 CFR 11.10(i))."""
