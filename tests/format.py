#!/usr/bin/env python3
"""The recording format as docs/FORMAT.md describes it, read by a program of its own: it must see the events that `gomem dump` prints.

usage: format.py FILE.gmt...    needs $GOMEM and libzstd; exits with 77 if it cannot run"""
import ctypes
import ctypes.util
import os
import struct
import subprocess
import sys

M64 = (1 << 64) - 1
KINDS, PATHS, COLUMNS = 56, 8, 248
WIDE, MARKS = 11, 12
PLAIN = {1: 3, 2: 2, 3: 2, 5: 1, 10: 1, 12: 1, 13: 1, 14: 1, 16: 1, 20: 1, 21: 1, 11: 2}
NEAR_LAST = {6, 8, 9, 17, 29, 30, 48, 51}
SIZES = [8192, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416, 448, 480, 512,
         576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528,
         6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672, 32768]


def load_zstd():
    name = ctypes.util.find_library("zstd")
    if name is None:
        print("skipped: there is no libzstd")
        sys.exit(77)
    lib = ctypes.CDLL(name)
    lib.ZSTD_decompress.restype = ctypes.c_size_t
    lib.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return lib


def decompress(lib, frame, size):
    out = ctypes.create_string_buffer(size + 1)
    got = lib.ZSTD_decompress(out, size, frame, len(frame))
    assert got == size, "a frame of %d bytes, not %d" % (got, size)
    return out.raw[:size]


def unzz(v):
    return (v >> 1) ^ -(v & 1)


def size_class(size):
    return next((c for c in range(1, len(SIZES)) if SIZES[c] >= size), 0)


class Stream:
    def __init__(self):
        self.next, self.cur = [0] * 256, [0] * 256
        self.tiny_end = self.size = self.flags = self.cls = self.span = 0
        self.base = self.npages = self.pcache = self.address = self.stack_bytes = 0
        self.stacks = [[0] * 8 for _ in range(32)]


class Span:
    def __init__(self, number):
        self.number, self.base, self.npages, self.nelems, self.marks = number, 0, 0, 0, []


class Block:
    def __init__(self, raw, spans):
        at, lengths, self.columns = 0, [], []
        for _ in range(COLUMNS):
            n, at = self.varint_at(raw, at)
            lengths.append(n)
        for n in lengths:
            self.columns.append(raw[at:at + n])
            at += n
        assert at == len(raw)
        self.at = [0] * COLUMNS
        self.spans_seen, self.spans = spans, {}
        self.last, self.slots = [0] * COLUMNS, {}
        self.streams = {}
        self.enter(0)
        self.dictionary = []
        while self.at[2] < len(self.columns[2]):
            size, rest = self.get(2), self.get(2)
            self.dictionary.append((size, rest & 3, rest >> 2))

    @staticmethod
    def varint_at(data, at):
        v = shift = 0
        while True:
            b = data[at]
            at += 1
            v |= (b & 127) << shift
            shift += 7
            if b < 128:
                return v, at

    def get(self, column):
        v, self.at[column] = self.varint_at(self.columns[column], self.at[column])
        return v

    def wide(self, column=WIDE):
        at = self.at[column]
        self.at[column] = at + 8
        return struct.unpack_from("<Q", self.columns[column], at)[0]

    def near(self, column, p):
        return (p + unzz(self.get(column))) & M64

    def near_last(self, column):
        self.last[column] = self.near(column, self.last[column])
        return self.last[column]

    def word(self, column, p):
        return p if self.get(column) == 0 else self.wide()

    def address(self, column, p, stride):
        code = self.get(column)
        if code % 2 == 0:
            return (p + unzz(code // 2) * stride) & M64
        return self.wide() if code == 1 else (p + unzz(code >> 1)) & M64

    def span(self, column, p):
        code = self.get(column)
        v = p if code == 0 else 0 if code == 1 else self.spans_seen + 1 if code == 2 else p + unzz(code - 3)
        assert 0 <= v <= self.spans_seen + 1
        self.spans_seen = max(self.spans_seen, v)
        if v != 0:
            self.x.span = v
        return v

    def span_registers(self, number):
        s = self.spans.get(number % 16384)
        if s is None or s.number != number:
            s = self.spans[number % 16384] = Span(number)
        return s

    def enter(self, stream):
        self.stream = stream
        if stream in self.streams:
            self.x = self.streams[stream]
            return
        self.x = Stream()
        if len(self.streams) >= 255:  # shared by all further ones
            for old in [s for s, x in self.streams.items() if x is self.shared]:
                self.streams[old] = self.x
        if len(self.streams) >= 254:
            self.shared = self.x
        self.streams[stream] = self.x

    def malloc(self, size, flags, path):
        x, path, flags = self.x, path & 7, flags & 3
        if path == 0:
            align = 8 if size % 8 == 0 else 4 if size % 4 == 0 else 2 if size % 2 == 0 else 1
            v = self.address(3, (x.tiny_end + align - 1) & M64 & -align, 1)
            x.tiny_end = (v + size) & M64
            return v
        if path == 5:
            return self.address(8, x.base, 8192)
        c = {1: 2, 4: size_class((size + 8) & M64), 7: 0}.get(path, size_class(size))
        spc = 5 if path == 1 else 2 * c + (flags & 1)
        offset = 8 if path == 4 else 0
        v = self.address(3 + path, (x.next[spc] + offset) & M64, SIZES[c])
        x.next[spc] = (v - offset + SIZES[c]) & M64
        if path == 1 and (x.tiny_end == 0 or size <= (x.tiny_end - 1) % 16):
            x.tiny_end = (v + size) & M64
        return v

    def sweep(self, col):
        x = self.x
        b = self.span(col + 1, x.span)
        s = self.span_registers(b)
        low = self.get(col)
        nelems = low >> 1
        count = self.near(14, nelems)
        a = low | count << 17 | self.near(15, count) << 33
        c = s.base = self.near(col + 2, s.base if s.base != 0 else self.last[col + 2])
        self.last[col + 2] = c
        npages, how = self.get(col + 3), self.get(16)
        live = self.get(17) if how == 3 else nelems if how == 1 else 0
        n = (nelems + 63) // 64 if how == 2 or 0 < live < nelems else 0
        marks = [self.wide(MARKS) for _ in range(n)]
        if how == 2:
            live = sum(bin(m).count("1") for m in marks)
        s.npages, s.nelems, s.marks = npages, nelems, marks
        return [a, b, c, npages | live << 32], marks

    def refill_end(self, col):
        x = self.x
        cls = self.get(col) ^ (x.cls & 255)
        index = self.get(22)
        b = x.cur[cls] = self.span(col + 1, x.span)
        s = self.span_registers(b)
        cache = (~s.marks[index // 64] & M64) >> index % 64 if index // 64 < len(s.marks) else M64
        c = self.word(col + 2, cache)
        s.nelems = self.near(23, s.nelems)
        d = self.get(col + 3) | s.nelems << 16
        x.next[cls] = (s.base + index * SIZES[(cls // 2) % 68]) & M64
        return [cls | index << 8, b, c, d]

    def stack_list(self, size):
        return self.x.stacks[(size.bit_length() - 1) % 32 if size else 0]

    def fields(self, kind):
        x, col, a, b, c, d = self.x, 24 + 4 * kind, 0, 0, 0, 0
        if kind in PLAIN:
            f = [self.get(col + i) for i in range(PLAIN[kind])] + [0] * 4
            if kind == 1:
                f[3] = self.malloc(*f[:3])
            elif kind == 2:
                x.size, x.flags = f[:2]
            elif kind == 3:
                x.stack_bytes = f[0]
            return f[:4]
        if kind in NEAR_LAST:
            return [self.near_last(col), 0, 0, 0]
        if kind == 4:
            b, c = self.get(col + 1), self.get(col + 2)
            a = x.address = self.near(col, x.address)
            stacks = self.stack_list(b)
            stacks.insert(0, a)
            stacks.pop()
        elif kind == 22:
            a, b, c = self.near_last(col), self.get(col + 1), self.get(col + 2)
        elif kind == 23:
            a = self.get(col)
            b = self.malloc(x.size, x.flags, a)
        elif kind == 24:
            place = self.get(col)
            if place == 0:
                a = self.near(col + 1, x.address)
            else:
                stacks = self.stack_list(x.stack_bytes)
                a = stacks.pop(place - 1)
                stacks.append(0)
            x.address = a
        elif kind == 25:
            a = x.cls = self.get(col)
            b = self.span(col + 1, x.cur[a & 255])
        elif kind == 26:
            return self.refill_end(col)
        elif kind in (27, 28):
            low = self.get(col)
            slot = self.near(20 if kind == 27 else 21, self.slots.get((kind, low), 0))
            self.slots[kind, low] = slot + 1
            a = low | slot << 10
            b = self.span(col + 1, x.span if kind == 27 else self.last[col + 1])
            if kind == 28 and b != 0:
                self.last[col + 1] = b
        elif kind == 31:
            b, a, c = self.span(col + 1, x.span), self.get(col), self.get(col + 2)
        elif kind == 33:
            a, b, c = self.near_last(col), self.word(col + 1, M64), self.word(col + 2, 0)
            x.pcache = a
        elif kind == 34:
            a = x.npages = self.get(col)
            b = x.base = self.address(col + 1, self.last[col + 1], 8192)
            c = self.get(col + 2)
            d = self.last[col + 3] = self.address(col + 3, self.last[col + 3], 8192)
            self.last[col + 1] = (b + 8192 * a) & M64
        elif kind == 35:
            b = self.span(col + 1, self.last[col + 1])
            self.last[col + 1] = b + 1
            a = self.get(col)
        elif kind == 36:
            a = x.npages = self.get(col)
            b = x.base = self.address(col + 1, x.pcache, 8192)
            c = self.get(col + 2)
            x.pcache = (b + 8192 * a) & M64 if b else x.pcache
        elif kind == 37:
            a, b = self.get(col), self.address(col + 1, x.pcache, 8192)
            c, d = self.word(col + 2, 0), self.word(col + 3, 0)
        elif kind == 38:
            a, b, c = self.address(col, x.base, 8192), self.near(col + 1, x.npages), self.get(col + 2)
        elif kind in (43, 44, 46, 47):
            a = x.base = self.address(col, x.base, 8192)
            b = self.near(col + 1, 0)
        elif kind == 39:
            a = self.get(col) | self.get(18) << 11
            b = self.span(col + 1, x.span)
            s = self.span_registers(b)
            c = x.base = s.base = self.address(col + 2, x.base, 8192)
            s.npages = self.near(col + 3, x.npages)
            d = s.npages | self.get(19) << 32
            s.nelems, s.marks = a >> 11, []
        elif kind == 40:
            a, b = self.get(col), self.span(col + 1, x.span)
            s = self.span_registers(b)
            c = self.address(col + 2, s.base if s.base != 0 else x.base, 8192)
            d = self.near(col + 3, s.npages)
            x.base = c
        elif kind in (41, 42):
            a, b, c = self.near_last(col), self.get(col + 1), self.get(col + 2)
            d = self.near(col + 3, a) if kind == 41 else 0
        elif kind == 45:
            a, b = self.near_last(col), self.near_last(col + 1)
        elif kind in (49, 50, 52, 53, 54):
            a, b = self.get(col), self.near_last(col + 1)
            if kind in (49, 52):
                x.address = b
        else:
            assert kind in (7, 15, 18, 19, 55), kind
        return [a, b, c, d]

    def events(self):
        for op in self.columns[0]:
            if op == 0:
                self.enter(self.get(1))
                continue
            marks = []
            if op >= 64:
                kind, f = 1, list(self.dictionary[op - 64])
                f.append(self.malloc(*f))
            elif op == 32:
                kind = op
                f, marks = self.sweep(24 + 4 * op)
            else:
                kind, f = op, self.fields(op)
            yield self.stream, kind, f, marks
        self.at[0] = len(self.columns[0])
        assert all(at == len(c) for at, c in zip(self.at, self.columns)), "columns that are not used up"


def events(lib, data):
    assert data[:8] == b"\x89GMT\r\n\x1a\n" and struct.unpack_from("<I", data, 8) == (1,)
    end, _, index, size = struct.unpack_from("<IQQQ", data, len(data) - 36)
    assert data[-40:-36] == b"GEND" and 1 <= end <= 5 and size == len(data)
    magic, kinds, paths, _, blocks, _, _ = struct.unpack_from("<4sIIIQQQ", data, index)
    assert (magic, kinds, paths) == (b"GIDX", KINDS, PATHS)
    for i in range(blocks):
        at, first, spans = struct.unpack_from("<QQQ", data, index + 40 + 8 * (KINDS + PATHS) + 24 * i)
        magic, n, raw, frame, number = struct.unpack_from("<4sIIIQ", data, at)
        assert magic == b"GBLK" and number == first
        yield from Block(decompress(lib, data[at + 24:at + 24 + frame], raw), spans).events()


def numbers(line):
    """The fields of a line of `gomem dump` as numbers, in the order of their bits."""
    words = line.split()
    parts = [w.split("=", 1) for w in words[3:]]
    names = {"-": 0, "noscan": 1, "zero": 2, "noscan,zero": 3, "none": 0, "tiny-hit": 0, "tiny-new": 1, "scan": 3, "scan-header": 4,
             "large": 5, "reuse": 6}
    out = {}
    for name, value in parts:
        if name == "marks":
            out[name] = [int(v, 16) for v in value.split(",")]
        elif name == "path" and value == "noscan":
            out[name] = 2
        elif value == "?":
            out[name] = None
        else:
            out[name] = names[value] if value in names else int(value.lstrip("#"), 0)
    return words[1], words[2], out


# How dump splits the fields: (name, bits) for each of a..d; kinds that have the same fields.
SPLIT = {
    "malloc": [["size"], ["flags"], ["path"], ["address"]], "malloc-begin": [["size"], ["flags"]], "stack-alloc": [["bytes"], ["bypass"]],
    "stack-free": [["address"], ["bytes"], ["bypass"]], "scavenge": [["bytes"], ["force"]], "freegc": [["address"], ["size"], ["noscan"]],
    "malloc-end": [["path"], ["address"]], "refill": [["class"], ["old"]],
    "refill-end": [[("class", 8), "freeindex"], ["span"], ["cache"], [("count", 16), "nelems"]],
    "push": [[("set", 10), "slot"], ["span"]], "pop": [[("set", 10), "slot"], ["span"]], "acquire": [["ok"], ["span"], ["reason"]],
    "sweep": [[("preserve", 1), ("nelems", 16), ("count", 16), "freeindex"], ["span"], ["base"], [("npages", 32), "live"]],
    "page-cache-refill": [["base"], ["cache"], ["scav"]], "page-alloc": [["npages"], ["base"], ["scav"], ["search"]],
    "mspan-alloc": [[], ["span"]], "page-cache-alloc": [["npages"], ["base"], ["scav"]],
    "page-cache-flush": [["p"], ["base"], ["cache"], ["scav"]], "need-zero": [["base"], ["npages"], ["needzero"]],
    "span-init": [[("type", 2), ("class", 8), ("needzero", 1), "nelems"], ["span"], ["base"], [("npages", 32), "scavpages"]],
    "span-free": [["type"], ["span"], ["base"], ["npages"]], "reserve": [["asked"], ["size"], ["aligned"], ["granted"]],
    "arena": [["address"], ["size"], ["asked"]], "page-grow": [["base"], ["size"]], "random-pad": [["base"], ["npages"]],
    "scavenge-find": [["chunk"], ["page"]], "scavenge-begin": [["base"], ["npages"]], "scavenge-end": [["base"], ["npages"]],
    "stack-pool-alloc": [["order"], ["address"]], "stack-pool-free": [[("order", 8), "phase"], ["address"]],
    "stack-large-pop": [["log2"], ["address"]], "stack-large-push": [["log2"], ["address"]], "hint": [["list"], ["address"]],
}


def split(name, fields, shown):
    """The same fields, split as dump does; one field alone has the name that dump gives it."""
    parts = SPLIT.get(name) or [[n] for n in shown if n != "marks"]
    out = {}
    for value, names in zip(fields, parts):
        for part in names:
            n, bits = part if isinstance(part, tuple) else (part, 64)
            out[n] = value & ((1 << bits) - 1)
            value >>= bits
    return out


def check(lib, gomem, path):
    with open(path, "rb") as f:
        data = f.read()
    names, n = {}, 0
    dump = subprocess.Popen([gomem, "dump", path], stdout=subprocess.PIPE, text=True)
    for stream, kind, fields, marks in events(lib, data):
        stream_shown, name, shown = numbers(dump.stdout.readline())
        want = split(name, fields, shown)
        if marks:
            want["marks"] = marks
        for key in [k for k, v in shown.items() if v is None]:
            shown[key] = want[key]
        same = names.setdefault(kind, name) == name and shown == want
        if not same or stream_shown != ("P%d" % stream if stream < 32768 else "M%d" % (stream - 32768)):
            sys.exit("%s: event %d: dump prints %s %s %r, the file says %d, stream %d, %r" %
                     (path, n, stream_shown, name, shown, kind, stream, want))
        n += 1
    assert dump.stdout.readline() == "" and dump.wait() == 0
    print("%s: %d events of %d kinds" % (path, n, len(names)))


def main():
    gomem = os.environ.get("GOMEM")
    if not gomem or not os.path.exists(gomem):
        print("skipped: $GOMEM is not there")
        sys.exit(77)
    lib = load_zstd()
    for path in sys.argv[1:]:
        check(lib, gomem, path)


main()
