"""A simulator of the mobile operators: their HTTP APIs and SMPP, delivery receipts, and faults on demand.

`manage.py operator_simulator` runs it as a process of its own. Like real operators, it sends a message twice if it is
submitted twice, and counts that. Chance is a hash of the message's reference and a seed, so runs can be repeated. The
delay of a receipt counts from accepting the message, so a receipt may overtake a slow answer.

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

With --smpp-port it also plays the operators in OPERATORS_SMPP, distinguished by system id and password. A message over
SMPP does not carry our reference. Its addresses, content and user_message_reference serve instead, so each part of a
long message counts as a message.

Control, JSON over HTTP without a token:

    POST /control/behaviour   change what `behaviour.Behaviour` holds, of both operators or of "operator"
    GET  /control/messages    every submit since the start or reset; ?operator= and ?reference= choose
    GET  /control/summary     counts for each operator
    POST /control/smpp        {"do": "unbind" | "drop" | "silence" | "speak"} to every SMPP connection, or "operator"'s
    POST /control/reset       forget messages, counts and receipts to send; back to the behaviour at the start
"""
