"""checks.py: what a test in Python counts and how it runs a program, for those that check one thing after the other."""
import subprocess

done = []  # whether each check held


def check(what, good, more=""):
    done.append(bool(good))
    print("%s: %s%s" % ("ok" if good else "FAILED", what, "" if good else "\n%s" % (more,)))


def run(*args, **kwargs):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, **kwargs)


def end(more=""):
    """Prints how many checks held. The exit code: 0 if all did."""
    print("%d of %d checks hold%s" % (sum(done), len(done), more))
    return 0 if all(done) else 1
