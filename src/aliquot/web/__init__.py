"""The HTTP server: mounts every domain's routes, encodes streams, health, metrics. Holds no business rules."""
