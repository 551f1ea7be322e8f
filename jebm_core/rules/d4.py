"""The optional compiler of clauses: d4, in a process of its own that is stopped when time is up.

Installed by the extra ``d4``. Source: Lagniez, Marquis, *An improved decision-DNNF compiler*, IJCAI 2017.
"""

import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from jebm_core.errors import Phrase
from jebm_core.rules.budget import Budget, TooLarge
from jebm_core.rules.cnf import Cnf
from jebm_core.rules.dnnf import BrokenCircuit, Dnnf
from jebm_core.rules.nnf import read_nnf

_MEMORY = 8 * 2**30
_MOST_BYTES = 20_000_000
"""Of a circuit's text: half a million edges or more, which take seconds to read."""
# d4 prints statistics whether one wants them or not, so nothing is read from its output.
_CHILD = f"""
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY}, {_MEMORY}))
except (ImportError, ValueError, OSError):
    pass
import py_d4
found = py_d4.Solver(sys.argv[1]).compile()
with open(sys.argv[2], "w") as file:
    file.write(f"{{found.count([])}}\\n{{found.getNNFString()}}")
"""


def is_installed() -> bool:
    """Whether the extra ``d4`` is there."""
    return find_spec("py_d4") is not None


def compile_clauses(cnf: Cnf, budget: Budget) -> Dnnf:
    """Clauses as a circuit, whose count is held against that of d4.

    Raises:
        TooLarge: time or memory ran out, or the circuit doesn't hold up.
        Cancelled: the budget's ``should_stop`` said so.
    """
    if () in cnf.clauses:
        return read_nnf("f 1 0", cnf.count, cnf.literals)
    count, _, text = _answer(cnf, budget).partition("\n")
    try:
        found = read_nnf(text, cnf.count, cnf.literals)
    except BrokenCircuit as error:
        raise TooLarge(Phrase("d4 gave a circuit that is not sound: {fault}", {"fault": str(error)})) from error
    if found.count() != int(count):
        raise TooLarge(Phrase("d4 gave a circuit that doesn't have its own count"))
    return found


def _answer(cnf: Cnf, budget: Budget) -> str:
    """What d4 finds: the count, and below it the circuit."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "rules.cnf"), Path(folder, "circuit.nnf")
        question.write_text(cnf.dimacs(), encoding="ascii")
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(question), str(answer)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while process.poll() is None:
                budget.spend(0)
                try:
                    process.wait(0.02)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
        if process.returncode or not answer.exists():
            raise TooLarge(Phrase("d4 ended with code {code}", {"code": process.returncode}))
        if answer.stat().st_size > _MOST_BYTES:
            raise TooLarge(Phrase("a circuit of more than {most} bytes", {"most": _MOST_BYTES}))
        return answer.read_text(encoding="ascii")
