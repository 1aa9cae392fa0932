"""The demo: the whole gateway on this machine, real messages through all of it, and a look at whether all agrees."""
