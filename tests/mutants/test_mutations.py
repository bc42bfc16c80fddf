"""Which changes are made to a source, and that each of them is one."""

from pathlib import Path

import pytest
from tests.mutants import run
from tests.mutants.mutations import mutants_of


def _changed(source: str) -> list[str]:
    return [mutant.applied_to(source) for mutant in mutants_of("x.py", source)]


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("x = a < b", ["x = (a <= b)"]),
        ("x = a is not b", ["x = (a is b)"]),
        ("x = a and b", ["x = (a or b)", "x = (b)", "x = (a)"]),
        ("x = not a", ["x = (a)"]),
        ("x = a - b", ["x = (a + b)"]),
        ("x = 'ä' + f(4)", ["x = 'ä' + f((5))", "x = 'ä' + f((3))"]),
        ("x = 5.0", ["x = (10.0)", "x = (2.5)"]),
        ("x = True", ["x = (False)"]),
        ("x = max(a, b)", ["x = (min(a, b))"]),
        ("x = sorted(a, key=b)", ["x = (list(a))"]),
        ("x = f(a, b)", ["x = (f(b, a))"]),
        ("x = a if b else c", ["x = (a)", "x = (c)"]),
        ("x = [a for a in b if c]", ["x = [a for a in b if (True)]", "x = [a for a in b if (False)]"]),
        ("f()", ["pass"]),
        ("a.b = c", ["pass"]),
        ("a -= b", ["a += b", "pass"]),
        ("return", ["pass"]),
        ("if a: return b", ["if (True): return b", "if (False): return b"]),
        ("while a: b = c", ["while (False): b = c"]),
        ("await f()", ["pass"]),
        ("x: Literal[4] = a", []),
        ("assert a < b", []),
        ("_log.info(a, b)", []),
    ],
)
def test_each_thing_has_its_changes(line: str, changed: list[str]) -> None:
    source = f"async def f():\n    {line}\n"
    assert _changed(source) == [f"async def f():\n    {one}\n" for one in changed]


def test_a_mutant_says_where_it_is_and_what_a_test_has_to_run_to_notice_it() -> None:
    source = (
        "LONG = 5\n\nclass A:\n    size: int = 0\n\n    def grow(self, by: int = 1) -> None:\n        self.size += by\n"
    )
    found = {(mutant.where, mutant.change): mutant for mutant in mutants_of("x.py", source)}
    assert found["(module)", "5 -> 6 in LONG = 5"].name == "LONG"
    assert found["A", "0 -> 1 in size: int = 0"].name == "size"
    assert found["A.grow", "self.size += by -> (removed)"].lines == range(7, 8)
    default = next(mutant for (where, change), mutant in found.items() if change.startswith("1 -> 2"))
    assert (default.where, default.lines) == ("A.grow", range(6, 8))
    assert str(default).startswith("x.py:6 A.grow: 1 -> 2 in ")


@pytest.mark.parametrize(
    ("code", "is_noticed"), [(0, False), (5, False), (1, True), (2, True), (-14, True), (None, True)]
)
def test_a_mutant_is_not_killed_by_tests_that_were_not_found(code: int | None, is_noticed: bool) -> None:
    assert run.is_noticed(code) is is_noticed


@pytest.mark.parametrize(
    ("source", "says"), [("a = 1\nb = a\na = 1\n", "more than once"), ("a = 2\n", "not in the code any more")]
)
def test_a_proof_is_of_one_change_that_is_there(
    source: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs = tmp_path / "equivalent.toml"
    proofs.write_text(
        '[[equivalent]]\nwhere = "(module)"\nchange = "1 -> 2 in a = 1"\nbecause = "It is so."\n', "utf-8"
    )
    monkeypatch.setattr(run, "EQUIVALENT", proofs)
    with pytest.raises(SystemExit, match=says):
        run.proven_equivalent(list(mutants_of("x.py", source)))
    [proven] = run.proven_equivalent(list(mutants_of("x.py", "a = 1\n")))
    assert proven.change == "1 -> 2 in a = 1"
