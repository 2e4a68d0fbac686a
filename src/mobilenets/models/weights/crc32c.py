"""CRC-32C (Castagnoli), the checksum of TensorFlow's checkpoints, fast enough for whole networks by numpy alone.

Long data is cut into lanes that are worked on side by side and joined afterwards: the remainder of two parts in a
row is that of the first, moved on by as many zero bytes as the second has, and the second's. RFC 3720, appendix B.4.
"""

import numpy as np
from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78
ONES = 0xFFFFFFFF
LOG_LANE = 10
SHORT = 4096


def crc32c(data: bytes) -> int:
    """The checksum of `data`.

    Example:
        >>> hex(crc32c(b"123456789"))
        '0xe3069283'
    """
    if len(data) < SHORT:
        remainder = ONES
        for byte in data:
            remainder = int(_TABLE[(remainder ^ byte) & 255]) ^ remainder >> 8
        return remainder ^ ONES
    lane = 1 << LOG_LANE
    # Zeros in front change nothing from remainder 0; starting from ones is the same as inverting the first 4 bytes.
    padded = np.zeros(-(-len(data) // lane) * lane, np.uint8)
    padded[-len(data) :] = np.frombuffer(data, np.uint8)
    padded[-len(data) :][:4] ^= 255
    lanes = padded.reshape(-1, lane)
    remainders = np.zeros(len(lanes), np.uint32)
    for i in range(lane):
        remainders = _TABLE[(remainders ^ lanes[:, i]) & 255] ^ remainders >> 8
    moved = _ONE_BYTE
    for _ in range(LOG_LANE):
        moved = _move(moved, moved)
    while len(remainders) > 1:
        if len(remainders) % 2:
            remainders = np.concatenate((np.zeros(1, np.uint32), remainders))
        remainders = _move(moved, remainders[0::2]) ^ remainders[1::2]
        moved = _move(moved, moved)
    return int(remainders[0]) ^ ONES


def _move(images: NDArray[np.uint32], remainders: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Each remainder under the linear map whose `images` are those of the 32 single bits."""
    moved = np.zeros_like(remainders)
    for bit in range(32):
        moved ^= (remainders >> bit & 1) * images[bit]
    return moved


def _table() -> NDArray[np.uint32]:
    remainders: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        remainders = (remainders >> 1 ^ (remainders & 1) * POLYNOMIAL).astype(np.uint32)
    return remainders


_TABLE = _table()
_BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)
_ONE_BYTE = _TABLE[_BITS & 255] ^ _BITS >> 8
