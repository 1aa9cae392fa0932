"""Mobile operators: one package each, and the registry that chooses among them."""
