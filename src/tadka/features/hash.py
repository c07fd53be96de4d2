"""The hash behind hashed features, in Python: what engine/hash.c computes, bit for bit.

Source: wyhash, final version 4.3, by Wang Yi (public domain), github.com/wangyi-fudan/wyhash; with
its default secret, 64-bit multiplication and little-endian reads.
"""

_MASK = 2**64 - 1
_SECRET = (0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9, 0x4B33A62ED433D4A3, 0x4D5A2DA51DE1AA47)


def hash_text(data: bytes, seed: int = 0) -> int:
    """64-bit hash of bytes, the same on every machine.

    Args:
        data: Any bytes; of a category the UTF-8 bytes of its text.
        seed: From 0 to 2**64 - 1; other integers count modulo 2**64.
    """
    size = len(data)
    seed &= _MASK
    seed ^= _mix(seed ^ _SECRET[0], _SECRET[1])
    if size <= 16:
        if size >= 4:
            step = size >> 3 << 2
            low = _read(data, 0, 4) << 32 | _read(data, step, 4)
            high = _read(data, size - 4, 4) << 32 | _read(data, size - 4 - step, 4)
        else:
            low = data[0] << 16 | data[size >> 1] << 8 | data[-1] if size else 0
            high = 0
    else:
        at, left = 0, size
        if left >= 48:
            second = third = seed
            while left >= 48:
                seed = _mix(_read(data, at) ^ _SECRET[1], _read(data, at + 8) ^ seed)
                second = _mix(_read(data, at + 16) ^ _SECRET[2], _read(data, at + 24) ^ second)
                third = _mix(_read(data, at + 32) ^ _SECRET[3], _read(data, at + 40) ^ third)
                at += 48
                left -= 48
            seed ^= second ^ third
        while left > 16:
            seed = _mix(_read(data, at) ^ _SECRET[1], _read(data, at + 8) ^ seed)
            at += 16
            left -= 16
        low, high = _read(data, size - 16), _read(data, size - 8)
    product = (low ^ _SECRET[1]) * (high ^ seed)
    return _mix((product & _MASK) ^ _SECRET[0] ^ size, (product >> 64) ^ _SECRET[1])


def feature_seed(name: str) -> int:
    """What the hashes of a feature's values start from.

    Args:
        name: Of the feature.
    """
    return hash_text(name.encode())


def missing_hash(seed: int) -> int:
    """The hash that stands for a missing value.

    Args:
        seed: Of the feature.
    """
    return hash_text(b"", seed + 1)


def slot_of(code: int, offset: int, width: int) -> int:
    """The slot in [offset, offset + width) that a hash falls into.

    Args:
        code: A hash, from 0 to 2**64 - 1.
        offset: First slot of the feature.
        width: Number of its slots.
    """
    return offset + (code * width >> 64)


def _read(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _mix(a: int, b: int) -> int:
    """Both halves of the product of two 64-bit numbers, folded."""
    product = a * b
    return product & _MASK ^ product >> 64
