"""A simulator of the mobile operators: their HTTP APIs and SMPP, their delivery receipts, and their faults on demand.

`manage.py operator_simulator` runs it as a process of its own. Like real operators it sends a message twice
when it is told twice; it counts that. Chance is a hash of the message's reference and a seed, so a run can be
repeated. The time to a receipt counts from taking the message, so a receipt may overtake a slow answer.

Recipients with these last four digits are magic (unless `--no-magic-numbers`):

    0001  delivered
    0002  undelivered
    0003  rejected for good
    0004  throttled at the first try, then delivered
    0005  a transient error at the first and second try, then delivered
    0006  a transient error at every try
    0007  accepted, no receipt ever
    0008  delivered, and the receipt comes twice
    0009  delivered, and the receipt comes before the submit's answer
    0010  accepted, but the first try never answered
    0011  accepted, but the connection closes at the first try

With --smpp-port it also plays the operators that OPERATORS_SMPP names, each known by its system id and password.
A message over SMPP has no reference of ours: its addresses, its content and its user_message_reference stand for
it, so each part of a long message is one of its own.

Control, JSON over HTTP without a token:

    POST /control/behaviour   change what `behaviour.Behaviour` holds, of both operators or of "operator"
    GET  /control/messages    every submit since the start or reset; ?operator= and ?reference= choose
    GET  /control/summary     counts for each operator
    POST /control/smpp        {"do": "unbind" | "drop" | "silence" | "speak"} to every SMPP connection, or "operator"'s
    POST /control/reset       forget messages, counts and receipts to send; back to the behaviour at the start
"""
