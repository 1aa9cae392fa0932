"""Receipts in the forms of public reports, manuals and standards, with other values: what each must be read as.

`BY_THE_BOOK` fields that no row is about are left as the source has them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from apps.sms.operators.smpp import gsm7


class Form(NamedTuple):
    """A receipt. `answer`: the id in the response to its submit; `expected`: its status, `intermediate`, or what it is
    if it is no readable receipt: `unreadable`, `message`. `hint`: the setting that an unreadable one needs."""

    answer: str
    text: str | bytes
    expected: str
    settings: dict[str, Any] = {}
    others: dict[str, Any] = {}
    error: str = ""
    hint: str = ""


def tlvs(id: bytes = b"", state: int | None = None, **others: Any) -> dict[str, Any]:
    found: dict[str, Any] = dict(others)
    if id:
        found["id"] = id
    if state is not None:
        found["state"] = bytes([state])
    return found


HEX = {"receipt_ids": "hex-then-decimal"}
BOOK = "sub:001 dlvrd:001 submit date:2611301905 done date:2611301906"

FORMS: dict[str, Form] = {
    # SMPP 3.4, appendix B
    "the standard's example": Form("0123456789", f"id:0123456789 {BOOK} stat:DELIVRD err:000 Text:Hello", "delivered"),
    "undelivered": Form("5", f"id:5 {BOOK} stat:UNDELIV err:027 Text:Hello", "undelivered", error="027"),
    "expired": Form("5", f"id:5 {BOOK} stat:EXPIRED err:001 Text:", "expired", error="001"),
    "deleted": Form("5", f"id:5 {BOOK} stat:DELETED err:001 Text:", "undelivered", error="001"),
    "rejected": Form("5", f"id:5 {BOOK} stat:REJECTD err:001 Text:", "rejected", error="001"),
    "accepted": Form("5", f"id:5 {BOOK} stat:ACCEPTD err:000 Text:", "intermediate", error="000"),
    "en route": Form("5", f"id:5 {BOOK} stat:ENROUTE err:000 Text:", "intermediate", error="000"),
    "unknown": Form("5", f"id:5 {BOOK} stat:UNKNOWN err:000 Text:", "intermediate", error="000"),
    # receipts.md
    "1: ASCII under data_coding 8": Form(
        "S213",
        "id:S213 sub:001 dlvrd:001 submit date:170609163650 done date:170609163657 stat:DELIVRD err:000 text:",
        "delivered",
        others={"coding": 8},
    ),
    "2: FAILED, and no date": Form(
        "1216080510463401720",
        "id:1216080510463401720 sub:001 dlvrd:001 submit date:1608051046 "
        "done date:0000000000 stat:FAILED err:002 Text:",
        "undelivered",
        error="002",
    ),
    "3: ACKED": Form("77", f"id:77 {BOOK} stat:ACKED err:000 text:", "intermediate", error="000"),
    "3: BUFFRED": Form("77", f"id:77 {BOOK} stat:BUFFRED err:000 text:", "intermediate", error="000"),
    "4: a parameter in the response's base": Form("A0B", "id:2571 stat:DELIVRD", "delivered", others=tlvs(b"A0B\0", 2)),
    "4: the same where ids are set as hexadecimal then decimal": Form(
        "A0B", "id:2571 stat:DELIVRD", "delivered", settings=HEX, others=tlvs(b"A0B\0", 2)
    ),
    "5: a zero less, as numbers": Form(
        "04062581461565934000241",
        "id:4062581461565934000241 stat:DELIVRD err:000",
        "delivered",
        settings={"id_comparison": "numeric"},
    ),
    "5: a zero less, without zeros": Form(
        "04062581461565934000241",
        "id:4062581461565934000241 stat:DELIVRD err:000",
        "delivered",
        settings={"id_comparison": "ignore-zeros"},
    ),
    "6: not marked": Form(
        "77",
        "id:77 sub:001 dlvrd:001 stat:DELIVRD err:000",
        "message",
        others={"esm_class": 0},
        hint="RECEIPTS_UNMARKED=on",
    ),
    "6: not marked, by the setting": Form(
        "77",
        "id:77 sub:001 dlvrd:001 stat:DELIVRD err:000",
        "delivered",
        settings={"receipts_unmarked": "on"},
        others={"esm_class": 0},
    ),
    "10: another order, and a NUL at the end": Form("77", b"stat:DELIVRD err:000 id:77\0", "delivered"),
    "11: the underscore of the GSM alphabet": Form("AB_12", b"id:AB\x1112 stat:DELIVRD err:000", "delivered"),
    "12: semicolons": Form("77", "id:77; stat:DELIVRD; err:000;", "delivered"),
    # Relatives of these
    "UCS-2 as declared": Form(
        "S213", f"id:S213 {BOOK} stat:DELIVRD".encode("utf-16-be"), "delivered", others={"coding": 8}
    ),
    "UCS-2 under data_coding 0": Form("S213", f"id:S213 {BOOK} stat:DELIVRD".encode("utf-16-be"), "delivered"),
    "UCS-2 with a mark": Form(
        "S213", "\ufeffid:S213 stat:DELIVRD".encode("utf-16-be"), "delivered", others={"coding": 8}
    ),
    "little-endian UCS-2": Form(
        "S213", f"id:S213 {BOOK} stat:DELIVRD".encode("utf-16-le"), "delivered", others={"coding": 8}
    ),
    "UTF-8 with a mark": Form("S213", b"\xef\xbb\xbfid:S213 stat:DELIVRD err:000", "delivered"),
    "packed GSM 7-bit": Form("S213", gsm7.pack(b"id:S213 stat:DELIVRD err:000 text:"), "delivered"),
    "any other data_coding": Form("S213", "id:S213 stat:DELIVRD err:000", "delivered", others={"coding": 0xF5}),
    "a header before the text": Form(
        "77", b"\x05\x00\x03\x07\x01\x01id:77 stat:DELIVRD err:000", "delivered", others={"esm_class": 0x44}
    ),
    "a header announced but not there": Form("77", b"id:77 stat:DELIVRD", "delivered", others={"esm_class": 0x44}),
    "NULs as padding between fields": Form("77", b"id:77\0\0\0 stat:DELIVRD\0\0 err:000\0", "delivered"),
    "waste behind the NUL": Form("77", b"id:77 stat:DELIVRD err:000\0 id:78 stat:UNDELIV", "delivered"),
    "a NUL within the id, which may be an @": Form("A@B", b"id:A\0B stat:DELIVRD err:000", "unreadable"),
    "an @ of the GSM alphabet in the id": Form(
        "A@B", b"id:A\0B stat:DELIVRD err:000", "delivered", settings={"receipt_alphabet": "gsm"}
    ),
    "commas": Form("77", "id:77,sub:001,dlvrd:001,stat:UNDELIV,err:9", "undelivered", error="9"),
    "one field a line": Form("77", "id:77\r\nsub:001\r\nstat:DELIVRD\r\nerr:000", "delivered"),
    "bars": Form("77", "id:77|stat:EXPIRED|err:5", "expired", error="5"),
    "a query": Form("77", "id=77&stat=REJECTD&err=12", "rejected", error="12"),
    "an id with a semicolon": Form("7;7", "id:7;7 stat:DELIVRD", "delivered"),
    "quoted": Form("77", 'id:"77" stat:"DELIVRD" err:"000"', "delivered"),
    "as JSON": Form("77", '{"id":"77","stat":"UNDELIV","err":"027"}', "undelivered", error="027"),
    "upper case": Form("0A", "ID:0A SUB:001 STAT:undeliv ERR:027", "undelivered", error="027"),
    "underscores": Form("77", "message_id:77 submit_date:2611301905 done_date:2611301906 status:DELIVRD", "delivered"),
    "blanks around": Form("77", "id : 77 stat : UNDELIV err : 5", "undelivered", error="5"),
    "more fields": Form("77", "id:77 mcc:432 mnc:11 price:0.05 stat:DELIVRD err:000 part:1", "delivered"),
    "two words": Form("77", "id:77 stat:NOT DELIVERED err:7", "undelivered", error="7"),
    "a long word": Form("77", "id:77 stat:UNDELIVERABLE err:7", "undelivered", error="7"),
    "DELIVERY FAILED is no delivery": Form("77", "id:77 stat:DELIVERY FAILED err:7", "undelivered", error="7"),
    "a word of the operator's own": Form(
        "77", "id:77 stat:OPTOUT", "rejected", settings={"receipt_statuses": ["OPTOUT=rejected"]}
    ),
    "a usual word with another meaning": Form(
        "77", "id:77 stat:ACKED", "delivered", settings={"receipt_statuses": ["ACKED=delivered"]}
    ),
    "a word nobody knows": Form("77", "id:77 stat:WHO", "unreadable", hint="RECEIPT_STATUSES=WHO=…"),
    "no status": Form("77", "id:77 err:000", "unreadable"),
    "no id": Form("77", "stat:DELIVRD err:000", "unreadable"),
    "two ids": Form("77", "id:77 stat:DELIVRD id:78", "unreadable"),
    "the customer's text looks like fields": Form("77", "id:77 stat:DELIVRD text:id:78 stat:UNDELIV", "delivered"),
    "only the customer's text": Form("78", "text:id:78 stat:UNDELIV", "unreadable"),
    # Parameters
    "parameters alone": Form("00ff", "", "undelivered", others=tlvs(b"00ff\0", 5, network=b"\3\0\x21"), error="33"),
    "a parameter without its NUL": Form("00ff", "", "delivered", others=tlvs(b"00ff", 2)),
    "a parameter padded with NULs": Form("77", "", "delivered", others=tlvs(b"77\0\0\0\0\0\0\0\0", 2)),
    "a parameter padded with blanks": Form("77", "", "delivered", others=tlvs(b"77      \0", 2)),
    "a parameter in the GSM alphabet": Form("AB_12", "", "delivered", others=tlvs(b"AB\x1112\0", 2)),
    "an id in the parameter, a status in the text": Form(
        "77", "stat:DELIVRD err:000", "delivered", others=tlvs(b"77\0")
    ),
    "an id in the text, a status in the parameter": Form(
        "77", "id:77 err:5", "expired", others=tlvs(state=3), error="5"
    ),
    "a parameter without an esm_class": Form("77", "", "delivered", others=tlvs(b"77\0", 2, esm_class=0)),
    "an intermediate notification": Form("77", "", "intermediate", others=tlvs(b"77\0", 1, esm_class=0x20)),
    "text padded to ten places, parameter as in the response": Form(
        "77", "id:0000000077 stat:DELIVRD", "delivered", others=tlvs(b"77\0", 2)
    ),
    "text cut to ten places, parameter as in the response": Form(
        "123456789012345", "id:1234567890 stat:DELIVRD", "delivered", others=tlvs(b"123456789012345\0", 2)
    ),
    "a parameter padded with zeros": Form(
        "77", "id:77 stat:DELIVRD", "unreadable", others=tlvs(b"0000000077\0", 2), hint="ID_COMPARISON=ignore-zeros"
    ),
    "a parameter padded with zeros, by the setting": Form(
        "77",
        "id:77 stat:DELIVRD",
        "delivered",
        settings={"id_comparison": "ignore-zeros"},
        others=tlvs(b"0000000077\0", 2),
    ),
    "another case": Form(
        "1101C1-C9D0", "id:1101c1-c9d0 stat:DELIVRD", "delivered", settings={"id_comparison": "ignore-case"}
    ),  # jasmin issue 916
    "a parameter that names another message": Form(
        "16", "id:22 stat:UNDELIV", "unreadable", others=tlvs(b"16\0", 5), hint="RECEIPT_IDS=hex-then-decimal"
    ),
    "the same with its base set": Form(
        "16", "id:22 stat:UNDELIV", "undelivered", settings=HEX, others=tlvs(b"16\0", 5)
    ),
    "a decimal parameter where responses are hexadecimal": Form(
        "16", "id:22 stat:UNDELIV", "undelivered", settings=HEX, others=tlvs(b"22\0", 5)
    ),
    "a parameter alone that may be in either base": Form(
        "16", "", "unreadable", settings=HEX, others=tlvs(b"16\0", 5), hint="TLV_IDS=decimal or TLV_IDS=hexadecimal"
    ),
    "the same with its base set, alone": Form(
        "16", "", "undelivered", settings=HEX | {"tlv_ids": "hexadecimal"}, others=tlvs(b"16\0", 5)
    ),
    "the text alone, by the setting": Form(
        "22", "id:22 stat:UNDELIV", "undelivered", settings={"receipt_source": "text"}, others=tlvs(b"16\0", 2)
    ),
    "the parameters alone, by the setting": Form(
        "16", "id:22 stat:UNDELIV", "delivered", settings={"receipt_source": "parameters"}, others=tlvs(b"16\0", 2)
    ),
    "states that contradict each other": Form(
        "77",
        "id:77 stat:UNDELIV",
        "unreadable",
        others=tlvs(b"77\0", 2),
        hint="RECEIPT_SOURCE=parameters or RECEIPT_SOURCE=text",
    ),
    "a state unknown to the SMSC": Form("77", "id:77 stat:DELIVRD", "delivered", others=tlvs(b"77\0", 7)),
    "a state with another meaning, in both places": Form(
        "77",
        "id:77 stat:ACCEPTD",
        "delivered",
        settings={"receipt_statuses": ["ACCEPTD=delivered"]},
        others=tlvs(b"77\0", 6),
    ),
    "a state with another meaning, in the parameter": Form(
        "77", "", "undelivered", settings={"receipt_statuses": ["UNKNOWN=undelivered"]}, others=tlvs(b"77\0", 7)
    ),
    # github.com/onlinecity/php-smpp issue 70: an escape in the text, and parameters of the vendor
    "an escape in the customer's text": Form(
        "217062714244798261",
        b"id:217062714244798261 sub:001 dlvrd:001 submit date:2611271624 done date:2611271624 stat:DELIVRD err:0000 "
        b"text:H\x1bello world",
        "delivered",
        others={"t1454": b"\0\0\0\0", "t1411": b"\0\0\0\0"},
    ),
    # github.com/onlinecity/php-smpp issue 29
    "a blank before the error": Form("77", f"id:77 {BOOK} stat:UNDELIV err: 5 text:", "undelivered", error="5"),
    # github.com/opentelecoms-org/jsmpp issue 62; uudashr/jsmpp issue 67
    "without sub and dlvrd": Form(
        "1626758174",
        "id:1626758174 submit date:2611240904 done date:2611240904 stat:DELIVRD err:000 text:hello",
        "delivered",
    ),
    "without sub, dlvrd and text": Form(
        "0754354026", "id:0754354026 submit date:2611101454 done date:2611101454 stat:DELIVRD err:000", "delivered"
    ),
    # github.com/python-smpplib/python-smpplib pull request 90
    "an id of 32 hexadecimal digits": Form(
        "7C7C7DE28BB3E961947700000000FE37",
        f"id:7C7C7DE28BB3E961947700000000FE37 {BOOK} stat:UNDELIV err:001 text:Ceci est un test.",
        "undelivered",
        error="001",
    ),
    # github.com/funbox/smppex issue 46: dates with tenths and quarters of an hour
    "dates as in a submit": Form(
        "sdwjwxns18krxr9936ey96ymcw",
        "id:sdwjwxns18krxr9936ey96ymcw sub:000 dlvrd:000 submit date:261111070003912+ done date:261111070000012+ "
        "stat:UNDELIV err:000",
        "undelivered",
        error="000",
    ),
    # github.com/jookies/jasmin issues 70, 1129, 1034; praekeltfoundation/vumi pull request 897
    "an id of lower-case digits": Form(
        "b29f6845555647139e5c8f3b817f2c9a",
        f"id:b29f6845555647139e5c8f3b817f2c9a {BOOK} stat:DELIVRD err:000 text:",
        "delivered",
    ),
    "zeros before a hexadecimal id": Form(
        "00B8BE19", f"id:00B8BE19 {BOOK} stat:DELIVRD", "delivered", others=tlvs(b"00B8BE19\0", 2)
    ),
    "hexadecimal, then decimal with ten places": Form(
        "39f99dd5", f"id:0972660181 {BOOK} stat:DELIVRD", "delivered", settings=HEX
    ),
    "FAILED": Form("77", f"id:77 {BOOK} stat:FAILED err:000 text:", "undelivered", error="000"),
    # help.nexmo.com 204015663 and 215468998
    "a text of none": Form(
        "BC614E", f"id:0000000012345678 {BOOK} stat:DELIVRD err:000 text:none", "delivered", settings=HEX
    ),
    # kast.ph: receipts of the SMSC alone
    "error of a gateway": Form(
        "77", f"id:77 {BOOK} stat:UNDELIV err:503", "undelivered", others=tlvs(b"77\0", 5), error="503"
    ),
    # melroselabs.scrollhelp.site
    "scheduled": Form(
        "77", f"id:77 {BOOK} stat:SCHEDLD err:000 text:", "intermediate", others=tlvs(b"77\0", 0), error="000"
    ),
    "skipped": Form(
        "77", f"id:77 {BOOK} stat:SKIPPED err:000 text:", "undelivered", others=tlvs(b"77\0", 9), error="000"
    ),
    # cardboardfish.com: a line break within the field's name
    "a line break within a name": Form(
        "77", "id:77 sub:001 dlvrd:001 submit date:2611301905 done\ndate:2611301906 stat:DELIVRD", "delivered"
    ),
    # github.com/uudashr/jsmpp's example server
    "decimal with ten places, response hexadecimal": Form(
        "33E95179", f"id:0870928761 {BOOK} stat:DELIVRD err:000", "delivered", settings=HEX
    ),
}
