"""Go traces byte by byte, for tests: a writer, a reader of records, and zstd frames by hand, of which a few bytes become many."""
import collections
import struct

NO_M = 2**64 - 1
MIN = 0xc000000000
FREQUENCY = 15625000


def number(v):
    out = bytearray()
    while v >= 0x80:
        out.append(v & 0x7f | 0x80)
        v >>= 7
    out.append(v)
    return bytes(out)


def numbers(*values):
    return b"".join(map(number, values))


def header(version):
    return b"go 1.%02d trace\0\0\0" % version


def batch(gen, m, time, body, experiment=None):
    tag = b"\1" if experiment is None else bytes([49, experiment])
    return tag + numbers(gen, m, time, len(body)) + body


def clock(gen):
    return batch(gen, NO_M, 1, b"\x32\x08" + number(FREQUENCY) + b"\x33" + numbers(1, 2, 3, 4))


def info(gen=1):
    return batch(gen, NO_M, 0, b"\1" + numbers(MIN, 8192, 8, 2048), 1)


def event(kind, dt, *args):
    return bytes([kind]) + numbers(dt, *args)


def start(version=26):
    """A trace up to where batches of its first generation may follow."""
    return header(version) + clock(1) + info()


END = b"\x34"

# A record of a trace: where it begins and ends, where its bytes begin, and what its header says. tag 52 has no more than that.
Record = collections.namedtuple("Record", "at end body tag experiment gen m time")


def take(data, at):
    v, shift = 0, 0
    while True:
        b = data[at]
        v |= (b & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if b < 0x80:
            return v, at


def records(data):
    at = 16
    while at < len(data):
        begin, tag = at, data[at]
        at += 1
        if tag == 52:
            yield Record(begin, at, at, tag, 0, None, None, None)
            continue
        experiment = 0
        if tag == 49:
            experiment, at = data[at], at + 1
        fields = []
        for _ in range(4):
            v, at = take(data, at)
            fields.append(v)
        yield Record(begin, at + fields[3], at, tag, experiment, *fields[:3])
        at += fields[3]


class Zstd:
    """A frame with a window of 1 MiB. Raw blocks, and blocks of one byte many times."""
    MOST = 128 << 10

    def __init__(self):
        self.out = bytearray(struct.pack("<IBB", 0xfd2fb528, 0, 10 << 3))

    def _block(self, kind, size, data, last=False):
        self.out += struct.pack("<I", last | kind << 1 | size << 3)[:3] + data

    def raw(self, data):
        for i in range(0, len(data), self.MOST):
            part = data[i:i + self.MOST]
            self._block(0, len(part), part)
        return self

    def repeat(self, byte, n):
        while n > 0:
            self._block(1, min(n, self.MOST), bytes([byte]))
            n -= min(n, self.MOST)
        return self

    def done(self):
        self._block(0, 0, b"", True)
        return bytes(self.out)
