"""blob.py: the C sources as one Go assembly file: one TEXT symbol for each C function.

gcc compiles each source to assembly, which is changed in one respect: after a return in the middle of a function stands an instruction that never
runs and makes the stack as deep again as the body has it. So depth follows from the text alone, Go's assembler computes it, and Go's tracebacks
and profiles walk through C frames. The objects are linked to one section; each function, a multiple of 32 bytes, becomes a TEXT
symbol: pushes, pops and adjustments of SP as instructions, everything else as bytes. Calls between functions are relative and stay
right as long as Go's linker keeps the symbols in order and without gaps; zz_graft_graft.go checks that, and a sum of all bytes, when a
program starts.

Refused: writable data, thread-local storage, addresses in constants, undefined functions, an instruction that changes SP in a way not known here.
"""
import os
import re
import subprocess
import sys

CFLAGS = """-std=gnu17 -O2 -S -ffreestanding -fbuiltin -fPIC -fvisibility=hidden -mgeneral-regs-only -mno-red-zone -fno-stack-protector
 -fno-jump-tables -fno-tree-loop-distribute-patterns -fno-asynchronous-unwind-tables -fno-unwind-tables -fcf-protection=none
 -fno-reorder-blocks-and-partition -fno-shrink-wrap -fno-schedule-insns2 -fno-optimize-sibling-calls -maccumulate-outgoing-args
 -fno-omit-frame-pointer -momit-leaf-frame-pointer -ffunction-sections -fdata-sections -falign-functions=32 -fno-ident -fno-lto -w
 -DGOMEM_FREESTANDING=1 -DNDEBUG""".split()
RELOCATIONS = {"R_X86_64_PC32", "R_X86_64_PLT32"}
REGISTERS = {"rax": "AX", "rbx": "BX", "rcx": "CX", "rdx": "DX", "rsi": "SI", "rdi": "DI", "rbp": "BP"}
REGISTERS.update({"r%d" % i: "R%d" % i for i in range(8, 16)})


class Refused(Exception):
    pass


def run(*argv, **kw):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, **kw)
    except FileNotFoundError:
        raise Refused("%s is not installed" % argv[0]) from None
    if done.returncode != 0:
        raise Refused("%s failed:\n%s" % (" ".join(argv[:1]), (done.stderr or done.stdout).strip()))
    return done.stdout


# ---- assembly text

PUSH = re.compile(r"\tpushq?\t%(\w+)$")
POP = re.compile(r"\tpopq?\t%(\w+)$")
MOVE = re.compile(r"\t(sub|add)q?\t\$(-?\d+), %rsp$")
LEA = re.compile(r"\tleaq?\t(-?\d+)\(%rbp\), %rsp$")
WRITES_SP = re.compile(r"^\t(?!cmp|test|push|pop|call|ret|mov\w*\t%rsp, %rbp$).*[ ,\t]%[er]sp$")


def deepen(n):
    return "\tsubq\t$%d, %%rsp" % n


class Function:
    """One function of gcc's output: its depth in bytes after each line."""

    def __init__(self, name):
        self.name, self.depth, self.body, self.rbp = name, 0, 0, 0
        self.open = False  # a return was seen, and nothing after it yet
        self.ending = False  # an adjustment of SP was put in, which changes the flags: only pops and the return may follow

    def line(self, line, out):
        if self.open and re.match(r"\t[a-z]|\.L", line) and not line.startswith("\t."):
            if self.body:
                out.append(deepen(self.body))
                self.depth = self.body
            self.open = False
        if self.ending and not POP.match(line) and line != "\tret":
            raise Refused("%s: %s stands in the way out" % (self.name, line.strip()))
        found = PUSH.match(line)
        if found:
            self.depth += 8
            self.body = max(self.body, self.depth)
            self.rbp = self.depth if found.group(1) == "rbp" and not self.rbp else self.rbp
        elif POP.match(line):
            self.depth -= 8
        elif MOVE.match(line):
            sign, n = MOVE.match(line).groups()
            self.depth += int(n) if sign == "sub" else -int(n)
            self.body = max(self.body, self.depth)
        elif line == "\tleave":
            self.shrink(8, out)
            self.depth -= 8
            out.append("\tpopq\t%rbp")
            return
        elif LEA.match(line):
            self.shrink(self.rbp - int(LEA.match(line).group(1)), out)
            return
        elif line == "\tret":
            if self.depth != 0:
                raise Refused("%s: returns with %d bytes on its stack" % (self.name, self.depth))
            self.open, self.ending = True, False
        elif WRITES_SP.match(line):
            raise Refused("%s: %s is not understood" % (self.name, line.strip()))
        out.append(line)

    def shrink(self, to, out):
        if self.depth != to:
            out.append("\taddq\t$%d, %%rsp" % (self.depth - to))
            self.ending = True
        self.depth = to


def annotate(text):
    """gcc's assembly with depths restored after returns."""
    out, function = [], None
    for line in text.split("\n"):
        found = re.match(r"\t\.type\t(\S+), @function", line)
        if found:
            function = Function(found.group(1))
        if function is None or line.startswith("\t.") or line.startswith("#"):
            out.append(line)
        else:
            function.line(line, out)
        if line.startswith("\t.size\t"):
            function = None
    return "\n".join(out)


# ---- compile and link

def compile_all(cc, include, sources, defines, work):
    objects = []
    for source in sources:
        stem = os.path.join(work, os.path.basename(source)[:-2])
        # mgcsweep.c has Go's rule of sweeping in proportion, in floating point, which is not used here: no vector registers, since Go keeps one zero.
        own = ["-mno-general-regs-only", "-mno-sse", "-mno-mmx", "-m80387"] if source.endswith("/mgcsweep.c") else []
        run(cc, *[f for f in CFLAGS if not own or f != "-mgeneral-regs-only"], *own[1:], *defines, "-I", include, "-o", stem + ".s", source)
        with open(stem + ".s") as f:
            text = annotate(f.read())
        with open(stem + ".s", "w") as f:
            f.write(text)
        run("as", "--64", "-o", stem + ".o", stem + ".s")
        if source.endswith("/persistentalloc.c"):  # linearAlloc is wanted of it; persistentalloc is Go's (platform_go.c)
            run("objcopy", "--weaken-symbol=persistentalloc", stem + ".o")
        objects.append(stem + ".o")
    return objects


def link(objects, entries, wraps, script, work):
    elf = os.path.join(work, "blob.elf")
    run("ld", "-T", script, "-nostdlib", "-static", "-q", "--gc-sections", "-e", entries[0], "--no-warn-rwx-segments",
        *["--undefined=" + e for e in entries], *["--wrap=" + w for w in sorted(set(wraps))], "-o", elf, *objects)
    for line in run("readelf", "-rW", elf).splitlines():
        found = re.match(r"[0-9a-f]+\s+[0-9a-f]+\s+(R_\w+)\s+[0-9a-f]*\s*(.*)", line)
        if found and found.group(1) not in RELOCATIONS:
            raise Refused("%s against %s: constants must not hold addresses" % found.groups())
    return elf


def functions(elf):
    """[(name, start, end)] that cover the block, in order; the last is for constants."""
    starts, end, rodata, source = {}, 0, 0, ""
    for line in run("readelf", "-sW", elf).splitlines():
        f = line.split()
        if len(f) < 8 or not f[0][:-1].isdigit():
            continue
        value, kind, bind, name = int(f[1], 16), f[3], f[4], f[7]
        if kind == "FILE":
            source = name.removesuffix(".c")
        elif name == "graft_end":
            end = value
        elif name == "graft_rodata":
            rodata = value
        elif kind == "FUNC":
            name = name.replace(".", "_")
            starts[value] = name if bind == "GLOBAL" else source + "·" + name
    places = sorted(starts)
    if rodata < end:
        places.append(rodata)
        starts[rodata] = "rodata"
    if not places or places[0] != 0 or any(p % 32 for p in places):
        raise Refused("functions do not stand at multiples of 32")
    return [(starts[p], p, e) for p, e in zip(places, places[1:] + [end])]


# ---- Go assembly

def instructions(elf, end):
    """{address: Go instruction} for each instruction that changes SP, and its length."""
    found = {}
    for line in run("objdump", "-d", "-w", "--no-show-raw-insn", "--stop-address=%d" % end, elf).splitlines():
        m = re.match(r"\s*([0-9a-f]+):\t(\S+)\s*(.*?)\s*$", line)
        if not m:
            continue
        at, op, args = int(m.group(1), 16), m.group(2), m.group(3)
        r = re.match(r"%(\w+)$", args)
        n = re.match(r"\$0x([0-9a-f]+),%rsp$", args)
        if op in ("push", "pop"):
            found[at] = ("PUSHQ " if op == "push" else "POPQ ") + REGISTERS[r.group(1)]
        elif op in ("sub", "add") and n:
            v = int(n.group(1), 16)
            v = v - (1 << 64) if v >> 63 else v
            found[at] = "ADJSP $%d" % (v if op == "sub" else -v)
        elif op == "ret":
            found[at] = "RET"
    return found


def length(text, data, at):
    """How many bytes Go's assembler makes of an instruction; it must be what gcc made."""
    if text == "RET":
        return 1
    op, arg = text.split()
    if op != "ADJSP":
        return 2 if re.match(r"R\d", arg) else 1
    n = int(arg[1:])
    return 4 if -128 <= abs(n) <= 128 and data[at + 1] == 0x83 else 7


def directives(data):
    at = 0
    while at < len(data):
        for size, name in ((8, "QUAD"), (4, "LONG"), (2, "WORD"), (1, "BYTE")):
            if len(data) - at >= size:
                yield "\t%s $0x%x\n" % (name, int.from_bytes(data[at:at + size], "little"))
                at += size
                break


def emit(elf, out):
    data = open_text(elf)
    parts = functions(elf)
    code = instructions(elf, max(start for _, start, _ in parts) if parts[-1][0] == "rodata" else len(data))
    with open(out, "w") as f:
        f.write("// Made by gomem graft from the C sources of gomem.\n#include \"textflag.h\"\n")
        for name, start, end in parts:
            f.write("\nTEXT gomem·%s(SB), NOSPLIT|NOFRAME, $0-0\n" % name)
            at = start
            for place in sorted(a for a in code if start <= a < end):
                if place < at:
                    continue
                f.writelines(directives(data[at:place]))
                f.write("\t%s\n" % code[place])
                at = place + length(code[place], data, place)
            f.writelines(directives(data[at:end]))
        for i, (name, _, _) in enumerate(parts):
            f.write("DATA ·graftFuncs+%d(SB)/8, $gomem·%s(SB)\n" % (8 * i, name))
        f.write("GLOBL ·graftFuncs(SB), RODATA, $%d\n" % (8 * len(parts)))
        f.write("\nTEXT ·graftFuncsAddr<ABIInternal>(SB), NOSPLIT|NOFRAME, $0-0\n\tLEAQ ·graftFuncs(SB), AX\n\tRET\n")
    return parts, data


def open_text(elf):
    raw = elf + ".bin"
    run("objcopy", "-O", "binary", "-j", ".text", elf, raw)
    with open(raw, "rb") as f:
        data = f.read()
    return data + b"\xcc" * (-len(data) % 32)


def checksum(data):
    h = 0xcbf29ce484222325
    for i in range(0, len(data), 8):
        h = ((h ^ int.from_bytes(data[i:i + 8], "little")) * 0x100000001b3) & (1 << 64) - 1
    return h
