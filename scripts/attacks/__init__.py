"""Attacks on a gateway's HTTP port, and how well another customer's single sends go on meanwhile.

python -m scripts.attacks NAME URL --attacker CUSTOMER --victim CUSTOMER; --help lists the names. Run them against
gateways of your own only.
"""
