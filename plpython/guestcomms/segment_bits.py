"""Numbers as bits and bytes, for the columns of a segment: varints (LEB128), zigzag, bit lengths, times as differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

UNITS = (1_000_000, 1_000, 1)  # microseconds in a second, a millisecond, a microsecond
LEAST, MOST = -(1 << 63), (1 << 63) - 1
CHANGE_BITS = 8
DAMAGED = "damaged segment: "


def zigzag(number: int) -> int:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    return 2 * number if number >= 0 else -2 * number - 1


def unzigzag(number: int) -> int:
    """The inverse of zigzag()."""
    return -(number >> 1) - 1 if number & 1 else number >> 1


class ByteWriter:
    """Bytes that grow at their end."""

    def __init__(self) -> None:
        self.data = bytearray()

    def varint(self, number: int) -> None:
        """Seven bits a byte, lowest first; the highest bit of a byte says that more follow."""
        while number > 127:
            self.data.append(number & 127 | 128)
            number >>= 7
        self.data.append(number)


class ByteReader:
    """Reads bytes from a place on; ValueError beyond the end."""

    def __init__(self, data: bytes, place: int = 0) -> None:
        self.data, self.place = data, place

    def varint(self) -> int:
        """A number of at most ten bytes."""
        number = 0
        for shift in range(0, 70, 7):
            if self.place >= len(self.data):
                break
            byte = self.data[self.place]
            self.place += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise ValueError(DAMAGED + "a number without end")

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > len(self.data) - self.place:
            raise ValueError(DAMAGED + "it ends too early")
        self.place += count
        return self.data[self.place - count : self.place]

    def texts(self, count: int) -> list[bytes]:
        """The next texts, without the NUL that ends each."""
        pieces = self.data[self.place :].split(b"\0", count)
        if len(pieces) != count + 1:
            raise ValueError(DAMAGED + "a text without end")
        self.place = len(self.data) - len(pieces.pop())
        return pieces

    def finish(self) -> None:
        """ValueError where bytes are left."""
        if self.place != len(self.data):
            raise ValueError(DAMAGED + "bytes are left")


class BitWriter:
    """Bits, most significant first."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write(self, number: int, width: int) -> None:
        """The lowest bits of a number that needs no more."""
        if width:
            self.pieces.append(f"{number:0{width}b}")

    def append(self, other: BitWriter) -> None:
        """All that another writer holds."""
        self.pieces += other.pieces

    def to_bytes(self) -> bytes:
        """Filled up with zero bits."""
        bits = "".join(self.pieces)
        size = (len(bits) + 7) // 8
        # int() of a power of two is linear in the digits, and knows no limit of them.
        return int(bits.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")


class BitReader:
    """Reads what BitWriter wrote; ValueError beyond the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def read(self, width: int) -> int:
        """The next bits as a number."""
        end = self.place + width
        last = (end + 7) // 8
        if last > len(self.data):
            raise ValueError(DAMAGED + "it ends too early")
        number = int.from_bytes(self.data[self.place // 8 : last], "big") >> (8 * last - end)
        self.place = end
        return number & ((1 << width) - 1)

    def finish(self) -> None:
        """ValueError where more is left than zero bits that fill a byte."""
        left = 8 * len(self.data) - self.place
        if left > 7 or self.read(left):
            raise ValueError(DAMAGED + "bits are left")


def write_numbers(out: ByteWriter, numbers: Sequence[int], *, signed: bool = False, steps: bool = False) -> None:
    """A column of numbers: value + 1 where all are the same, else 0 and each; nothing where there are none.

    signed: any 64 bits, else not negative; steps: the difference from the number before is written.
    """
    if not numbers:
        return
    if signed:
        numbers = [zigzag(number) for number in numbers]
    if min(numbers) == max(numbers):
        out.varint(numbers[0] + 1)
        return
    if steps:
        numbers = [zigzag(number - before) for number, before in zip(numbers, [0, *numbers], strict=False)]
    out.varint(0)
    if max(numbers) < 128:
        out.data += bytes(numbers)
    else:
        for number in numbers:
            out.varint(number)


def read_numbers(source: ByteReader, count: int, *, signed: bool = False, steps: bool = False) -> list[int]:
    """What write_numbers() wrote."""
    if not count:
        return []
    first = source.varint()
    if first:
        numbers = [first - 1] * count
    else:
        if count > len(source.data) - source.place:
            raise ValueError(DAMAGED + "it ends too early")
        numbers = [source.varint() for _ in range(count)]
        if steps:
            total = 0
            for place, step in enumerate(numbers):
                total += unzigzag(step)
                numbers[place] = total
    if signed:
        numbers = [unzigzag(number) for number in numbers]
        if not all(LEAST <= number <= MOST for number in numbers):
            raise ValueError(DAMAGED + "a number beyond 64 bits")
    return numbers


def write_times(out: ByteWriter, bits: BitWriter, times: Sequence[int | None], bases: Sequence[int], nullable: bool) -> None:
    """A column of times in microseconds: which are null, how they are written (one number), then the differences.

    Differences are from their bases or from the time before, whichever takes less, in the largest unit that loses nothing.
    """
    if nullable:
        write_numbers(out, [int(time is not None) for time in times])
        bases = [base for base, time in zip(bases, times, strict=True) if time is not None]
    present = cast("list[int]", [time for time in times if time is not None])
    if not present:
        return
    from_bases = [time - base for time, base in zip(present, bases, strict=True)]
    from_last = [from_bases[0], *(time - before for time, before in zip(present[1:], present, strict=False))]
    best: tuple[int, int, list[int]] | None = None
    for chained, steps in enumerate((from_bases, from_last)):
        unit = next(place for place, unit in enumerate(UNITS) if not any(step % unit for step in steps))
        numbers = [zigzag(step // UNITS[unit]) for step in steps]
        same = min(numbers) == max(numbers)
        cost = 0 if same else sum(number.bit_length() + 4 if number else 1 for number in numbers)
        if best is None or cost < best[0]:
            best = cost, 6 * same + 3 * chained + unit, numbers
    assert best is not None
    _, form, numbers = best
    out.varint(form)
    if form >= 6:
        out.varint(numbers[0])
        return
    _write_lengths(out, bits, [number.bit_length() for number in numbers])
    for number in numbers:
        width = max(number.bit_length() - 1, 0)
        bits.write(number & ((1 << width) - 1), width)


def _write_lengths(out: ByteWriter, bits: BitWriter, lengths: Sequence[int]) -> None:
    """How many bits each number has: as a column where they follow each other closely, else in as few bits as they span."""
    low = min(lengths)
    width = (max(lengths) - low).bit_length()
    changes = sum(length != before for length, before in zip(lengths[1:], lengths, strict=False))
    # A change costs a code table of text about seven bits, beside what it spoils for the text.
    if CHANGE_BITS * changes <= width * len(lengths):
        out.varint(0)
        write_numbers(out, lengths)
        return
    out.varint(width)
    out.varint(low)
    for length in lengths:
        bits.write(length - low, width)


def _read_lengths(source: ByteReader, bits: BitReader, count: int) -> list[int]:
    width = source.varint()
    if width > 7:
        raise ValueError(DAMAGED + "a time beyond 64 bits")
    if not width:
        return read_numbers(source, count)
    low = source.varint()
    return [low + bits.read(width) for _ in range(count)]


def read_times(source: ByteReader, bits: BitReader, count: int, bases: Sequence[int], nullable: bool) -> list[int | None]:
    """What write_times() wrote; ValueError for times beyond 64 bits."""
    present = read_numbers(source, count) if nullable else [1] * count
    if any(flag > 1 for flag in present):
        raise ValueError(DAMAGED + "neither null nor not")
    if not any(present):
        return [None] * count
    form = source.varint()
    if form > 11:
        raise ValueError(DAMAGED + "unknown form of times")
    if form >= 6:
        numbers = [source.varint()] * sum(present)
    else:
        numbers = []
        for length in _read_lengths(source, bits, sum(present)):
            if length > 70:
                raise ValueError(DAMAGED + "a time beyond 64 bits")
            numbers.append(1 << (length - 1) | bits.read(length - 1) if length else 0)
    steps = iter(numbers)
    unit, chained, last = UNITS[form % 3], form % 6 >= 3, None
    times: list[int | None] = []
    for flag, base in zip(present, bases, strict=True):
        if not flag:
            times.append(None)
            continue
        last = (last if chained and last is not None else base) + unzigzag(next(steps)) * unit
        if not LEAST <= last <= MOST:
            raise ValueError(DAMAGED + "a time beyond 64 bits")
        times.append(last)
    return times
