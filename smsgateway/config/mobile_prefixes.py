"""Mobile prefixes that settings add to the number plans of the `phonenumbers` library (`SMS_MOBILE_PREFIXES`)."""

from __future__ import annotations

from functools import cache


@cache
def numbers_of(prefix: str) -> tuple[str, tuple[int, ...]]:
    """The country calling code of a prefix of E.164 numbers, and how many digits may follow it in mobile numbers.

    Raises ValueError if no mobile number can begin with the prefix.
    """
    # Imported here because only processes with such a prefix need it at their start.
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    if not (prefix.isascii() and prefix.isdigit()) or prefix.startswith("0"):
        raise ValueError(f"{prefix!r} is not a prefix of E.164 digits without the plus, such as 98912")
    code = next((prefix[:length] for length in (1, 2, 3) if int(prefix[:length]) in COUNTRY_CODE_TO_REGION_CODE), "")
    if not code:
        raise ValueError(f"no country has the calling code that {prefix} begins with")
    lengths: set[int] = set()
    for region in COUNTRY_CODE_TO_REGION_CODE[int(code)]:
        metadata = PhoneMetadata.metadata_for_region(region)
        if metadata is not None and metadata.mobile is not None:
            lengths.update(metadata.mobile.possible_length or ())
    after = len(prefix) - len(code)
    fitting = tuple(sorted(length for length in lengths if length > after))
    if after < 1 or not fitting:
        raise ValueError(f"{prefix} must be longer than the calling code {code} and shorter than a number")
    return code, fitting
