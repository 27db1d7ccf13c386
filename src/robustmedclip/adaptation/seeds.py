"""Seeds of everything random in the tuning."""

import hashlib


def derived_seed(*key: int | str) -> int:
    """A seed of 56 bits that depends on the key alone."""
    digest = hashlib.blake2b("\0".join(map(str, key)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")
