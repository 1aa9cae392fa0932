"""Mobile operators: one package per protocol, and the registry of those that are configured."""
