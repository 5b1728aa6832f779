"""Where a source file can be mutated, and into what. Used by mutants.py.

Positions come from clang's AST (-ast-dump=json), never from a search through the text. Each way to change the file is a Site: a range of
the text (an expression or a statement) and edits within it. Nothing is mutated where C wants a constant, and nothing that a macro brought in.

Invariants: edits lie within the range of their site; two sites of a file nest or are apart; a site's id does not depend on its line."""
import hashlib
import json
import re
import subprocess
from dataclasses import dataclass, field

DEFINES = ("GOMEM_LAB=1", "GOMEM_RUNTIME_LAYOUT=1", "GOMEM_CHECKED", "_GNU_SOURCE")  # the variant that fuzz targets use

RELATIONAL = {"<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"), "==": ("!=",), "!=": ("==",)}
ARITHMETIC = {"+": ("-",), "-": ("+",), "*": ("/",), "/": ("*",), "%": ("/",),
              "+=": ("-=",), "-=": ("+=",), "*=": ("/=",), "/=": ("*=",), "%=": ("/=",), "++": ("--",), "--": ("++",)}
LOGICAL = {"&&": ("||",), "||": ("&&",)}
BITWISE = {"&": ("|",), "|": ("&",), "^": ("|",), "<<": (">>",), ">>": ("<<",),
           "&=": ("|=",), "|=": ("&=",), "^=": ("|=",), "<<=": (">>=",), ">>=": ("<<=",)}
OPERATORS = {"relational": RELATIONAL, "arithmetic": ARITHMETIC, "logical": LOGICAL, "bitwise": BITWISE}
# Subtrees that are constants, types, or not evaluated.
CONSTANT = {"ConstantExpr", "EnumDecl", "StaticAssertDecl", "RecordDecl", "TypedefDecl", "UnaryExprOrTypeTraitExpr",
            "OffsetOfExpr", "GenericSelectionExpr", "NullStmt"}
WANT_CONSTANTS = {"__builtin_expect", "__builtin_prefetch", "__builtin_choose_expr"}
LOOPS = {"ForStmt", "WhileStmt", "DoStmt"}
TRANSPARENT = {"ImplicitCastExpr", "ParenExpr"}


@dataclass
class Site:
    file: str  # "mheap.c", of gomem/
    function: str
    operator: str
    begin: int
    end: int
    edits: list  # [(begin, end, text)], in order
    statement: bool = False  # else an expression
    orig: str = ""  # what goes before the original, so that both branches have one type: "!!" or nothing
    line: int = 0
    before: str = ""
    after: str = ""
    checker: bool = False  # in a function that only tests invariants
    id: str = field(default="")


def apply(text, site):
    """The text of the site's range, mutated."""
    out, at = [], site.begin
    for begin, end, new in site.edits:
        out += [text[at:begin], new]
        at = end
    return "".join(out) + text[at:site.end]


def mutated(text, site):
    """The whole file with one mutant."""
    return text[:site.begin] + apply(text, site) + text[site.end:]


def peel(node):
    """The expression below conversions and parentheses."""
    while node["kind"] in TRANSPARENT:
        node = node["inner"][0]
    return node


def strip_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.S)


class Finder:
    def __init__(self, path, text, include):
        self.path, self.text = path, text
        self.sites, self.calls = [], {}
        self.functions, self.private = set(), set()
        self.function = None
        self.lines = [0] + [i + 1 for i, c in enumerate(text) if c == "\n"]
        argv = ["clang", "-x", "c", "-std=c17", "-w", "-fsyntax-only", "-Xclang", "-ast-dump=json", "-I", str(include)]
        argv += ["-D" + d for d in DEFINES] + [str(path)]
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit("clang cannot parse %s:\n%s" % (path, done.stderr))
        self.ast = json.loads(done.stdout)

    # ---- places

    def place(self, loc):
        """(offset, length, of a macro) of a token in the file itself, else None."""
        macro = False
        if "expansionLoc" in loc:
            macro = not loc["expansionLoc"].get("isMacroArgExpansion")
            loc = loc["expansionLoc"] if macro else loc["spellingLoc"]
        if "offset" not in loc or "includedFrom" in loc:
            return None
        return loc["offset"], loc["tokLen"], macro

    def close(self, at):
        """The end of the macro call whose name ends at `at`, or `at` if it has no arguments."""
        found = re.compile(r"\s*\(").match(self.text, at)
        if not found:
            return at
        depth = 0
        for token in re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[()]').finditer(self.text, at):
            depth += {"(": 1, ")": -1}.get(token.group(), 0)
            if depth == 0:
                return token.end()
        return None

    def range(self, node):
        r = node.get("range", {})
        begin, end = self.place(r.get("begin", {})), self.place(r.get("end", {}))
        if begin is None or end is None:
            return None
        stop = end[0] + end[1]
        if end[2]:
            stop = self.close(stop)
        if stop is None or stop <= begin[0]:
            return None
        return begin[0], stop

    # ---- sites

    def add(self, operator, node, edits, statement=False, orig=""):
        r = self.range(node)
        if r is None or any(e is None for e in edits):
            return
        text = self.text[r[0]:r[1]]
        if re.search(r"^\s*#", text, re.M) or any(not r[0] <= b <= e <= r[1] for b, e, _ in edits):
            return
        site = Site(self.path.name, self.function, operator, r[0], r[1], sorted(edits), statement, orig)
        site.line = next(i for i in range(len(self.lines), 0, -1) if self.lines[i - 1] <= site.begin)
        site.before = " ".join(strip_comments(text).split())
        site.after = " ".join(strip_comments(apply(self.text, site)).split()) or "(deleted)"
        self.sites.append(site)

    def between(self, left, right, opcode):
        """Where the operator between two operands stands: nothing else but white space and comments may be there."""
        a, b = self.range(left), self.range(right)
        if a is None or b is None or a[1] > b[0]:
            return None
        gap = self.text[a[1]:b[0]]
        if strip_comments(gap).strip() != opcode:
            return None
        at = a[1] + (gap.rfind(opcode) if "/" in gap and opcode != "/" else gap.find(opcode))
        return at, at + len(opcode)

    def binary(self, node):
        left, right = node["inner"]
        op = node["opcode"]
        if "*" in left["type"]["qualType"] and "*" in right["type"]["qualType"] and op == "-":
            return
        at = self.between(left, right, op)
        if at is None:
            return
        for name, table in OPERATORS.items():
            for new in table.get(op, ()):
                self.add(name, node, [(at[0], at[1], new)])
        r = self.range(node)
        literal = any(o["kind"] == "IntegerLiteral" for o in (peel(left), peel(right)))
        if op in ("+", "-") and r is not None and not literal:
            self.add("off by one", node, [(r[1], r[1], " + 1")])

    def unary(self, node):
        op, r = node["opcode"], self.range(node)
        if r is None:
            return
        at = r[1] - len(op) if node.get("isPostfix") else r[0]
        if self.text[at:at + len(op)] != op:
            return
        if op in ("++", "--"):
            self.add("arithmetic", node, [(at, at + 2, ARITHMETIC[op][0])])
        elif op == "!":
            self.add("drop", node, [(at, at + 1, "!!")])
        elif op == "~":
            self.add("drop", node, [(at, at + 1, "")])

    def literal(self, node):
        r = self.range(node)
        if r is None:
            return
        word = self.text[r[0]:r[1]]
        if word in ("true", "false"):
            self.add("constant", node, [(r[0], r[1], "false" if word == "true" else "true")])
        elif re.fullmatch(r"0[uUlL]*", word):
            self.add("constant", node, [(r[0], r[1], "1" + word[1:])])
        elif re.fullmatch(r"(0[xX])?[0-9a-fA-F]+[uUlL]*", word):
            self.add("constant", node, [(r[0], r[1], "(%s + 1)" % word)])
            self.add("constant", node, [(r[0], r[1], "(%s - 1)" % word)])

    def negate(self, operator, node):
        """A condition or a returned bool: nothing that another operator negates already."""
        bare = peel(node)
        if bare["kind"] == "IntegerLiteral" or bare.get("opcode") in RELATIONAL or bare.get("opcode") == "!":
            return
        r = self.range(node)
        if r is not None:
            self.add(operator, node, [(r[0], r[0], "!("), (r[1], r[1], ")")], orig="!!")

    def statement(self, node, loop):
        r = self.range(node)
        if r is None or self.text[r[1]:r[1] + 1] != ";":
            return
        kind, op = node["kind"], node.get("opcode", "")
        if kind in ("CallExpr", "AtomicExpr", "CompoundAssignOperator") or op in ("=", "++", "--"):
            self.add("delete", node, [(r[0], r[1], "")], statement=True)
        elif loop and kind in ("BreakStmt", "ContinueStmt"):
            word = "continue" if kind == "BreakStmt" else "break"
            self.add("jump", node, [(r[0], r[1], word)], statement=True)

    # ---- the walk

    def callee(self, node):
        return peel(node["inner"][0]).get("referencedDecl", {}).get("name", "")

    def visit(self, node, loop=False):
        kind = node.get("kind")
        if kind is None or kind in CONSTANT or (kind == "VarDecl" and node.get("storageClass") == "static"):
            return
        inner = node.get("inner", [])
        if kind == "CallExpr":
            name = self.callee(node)
            self.calls.setdefault(self.function, set()).add(name)
            if name in WANT_CONSTANTS:
                inner = inner[1:2]
            elif name == "lab_event":  # a bare number is the place of an argument that this kind of event does not have
                inner = [c for c in inner if peel(c)["kind"] != "IntegerLiteral"]
        if kind in ("ImplicitCastExpr", "CStyleCastExpr") and node.get("castKind") == "NullToPointer":
            return
        if kind in ("BinaryOperator", "CompoundAssignOperator"):
            self.binary(node)
        elif kind == "UnaryOperator":
            self.unary(node)
        elif kind == "IntegerLiteral":
            self.literal(node)
        elif kind in ("IfStmt", "WhileStmt", "ConditionalOperator") and inner:
            self.negate("logical", inner[0])
        elif kind == "ForStmt" and len(inner) == 5 and inner[2].get("kind"):
            self.negate("logical", inner[2])
        elif kind == "ReturnStmt" and inner and self.returns_bool:
            self.negate("return", inner[0])
        if kind in LOOPS:
            loop = True
        elif kind == "SwitchStmt":
            loop = False
        if kind in ("CompoundStmt", "CaseStmt", "DefaultStmt"):
            for child in inner:
                self.statement(child, loop)
        for child in inner:
            self.visit(child, loop)

    def find(self):
        for node in self.ast["inner"]:
            body = [c for c in node.get("inner", []) if c.get("kind") == "CompoundStmt"]
            if node.get("kind") != "FunctionDecl" or not body or self.range(node) is None:
                continue
            self.function = node["name"]
            self.functions.add(self.function)
            if node.get("storageClass") == "static" and self.path.suffix == ".c":
                self.private.add(self.function)
            self.returns_bool = re.match(r"(_Bool|bool)\b", node["type"]["qualType"]) is not None
            self.visit(body[0])
        return self


def checkers(finders):
    """Functions that only test invariants: X_check that only such ones call, and static functions that only they call."""
    called_by = {}
    for f in finders:
        for caller, names in f.calls.items():
            for name in names:
                called_by.setdefault(name, set()).add(caller)
    found = {n for f in finders for n in f.functions if n.endswith("_check")}
    found -= {n for n in found if any(not c.endswith("_check") for c in called_by.get(n, ()))}
    private = {name for f in finders for name in f.private}
    while True:
        more = {n for n in private - found if called_by.get(n) and called_by[n] <= found}
        if not more:
            return found
        found |= more


def name_sites(sites):
    """Ids of the form file:function:operator:text, where text is a short hash of the change; equal ones are numbered."""
    seen = {}
    for s in sites:
        key = (s.file, s.function, s.operator, s.before, s.after)
        seen[key] = seen.get(key, 0) + 1
        short = hashlib.sha256(repr((*key, seen[key])).encode()).hexdigest()[:8]
        s.id = "%s:%s:%s:%s" % (s.file, s.function, s.operator.replace(" ", "-"), short)


def unique(sites):
    """One site for each change of the text: a macro may have shown an argument twice."""
    seen, out = set(), []
    for s in sites:
        key = (s.begin, s.end, tuple(s.edits))
        if key not in seen:
            seen.add(key)
            out.append(s)
    return out


def find_sites(root):
    """All sites of gomem/, by file name. (sites, texts)"""
    finders, texts = [], {}
    skip = {"variant.h", "sizeclasses.h", "poison.h"}  # generated; nothing but words to sanitizers
    for path in sorted([*(root / "gomem").glob("*.c"), *(root / "gomem").glob("*.h")]):
        if path.name not in skip:
            texts[path.name] = path.read_text()
            finders.append(Finder(path, texts[path.name], root).find())
    checking = checkers(finders)
    sites = {}
    for f in finders:
        found = unique(f.sites)
        for s in found:
            s.checker = s.function in checking
        name_sites(found)
        sites[f.path.name] = found
    return sites, texts
