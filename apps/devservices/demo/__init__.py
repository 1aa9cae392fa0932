"""The demo: runs the whole gateway on this machine, sends messages through it, and compares the results of all
parts."""
