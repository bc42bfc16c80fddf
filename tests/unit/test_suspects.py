"""The search for what the exchange refuses."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upbit_streams import DataType
from upbit_streams.model.subscriptions import Want
from upbit_streams.rules.suspects import Suspects, is_about_the_request

WANTS = [Want(DataType.TRADE, f"KRW-C{number}") for number in range(1000)]


def search(
    suspects: Suspects,
    wanted: frozenset[Want],
    bad: frozenset[Want],
    accidents: list[bool],
    malfunction: Sequence[int] = (),
) -> tuple[int, set[Want]]:
    """Ask as a connection does until all that is wanted is either accepted or found. ``accidents`` are requests that
    are refused for no reason, one after the other, and so are those with the numbers of the ``malfunction``: whoever is
    served before its end loses the connection and asks again. Returns how many were refused with a reason, and what was
    found."""
    refusals, found, served = 0, set[Want](), frozenset[Want]()
    suspects.begin()
    is_new_epoch = True
    for number in range(100_000):
        left = wanted - found
        asked = suspects.attempt(left).wants
        assert asked
        assert asked <= left
        if is_new_epoch:
            assert not served or asked == served, "an epoch begins with what has been accepted, and nothing else"
        is_bad = bool(asked & bad)
        if is_bad or number in malfunction or (accidents and accidents.pop()):
            refusals += is_bad
            if not asked - served:
                served = frozenset()  # an accident has shaken the trust
            verdicts = suspects.refused(asked, "INVALID_PARAM", "no")
            suspects.begin()
            is_new_epoch = True
        else:
            verdicts = suspects.accepted(asked)
            served |= asked
            is_new_epoch = False
        found.update(verdict.want for verdict in verdicts)
        if asked == wanted - found and not is_new_epoch:
            if number >= max(malfunction, default=0):
                return refusals, found
            suspects.begin()
            is_new_epoch = True
        if found == wanted:
            return refusals, found
    raise AssertionError("the search does not end")


sizes = st.integers(1, 40) | st.sampled_from([99, 100, 101, 1000])


@given(size=sizes, data=st.data())
def test_exactly_the_bad_ones_are_found_with_few_refusals(size: int, data: st.DataObject) -> None:
    wanted = frozenset(WANTS[:size])
    bad = frozenset(data.draw(st.lists(st.sampled_from(WANTS[1:size]), max_size=8))) if size > 1 else frozenset[Want]()
    refusals, found = search(Suspects(), wanted, bad, [])
    assert found == bad
    depth = math.ceil(math.log10(size)) if size > 1 else 0
    assert refusals <= (3 + len(bad) * (depth + 2) if bad else 0)


@given(size=st.integers(1, 30), data=st.data())
def test_all_bad_ones_are_found_however_many(size: int, data: st.DataObject) -> None:
    """As long as there is a good one."""
    wanted = frozenset(WANTS[:size])
    bad = some_of(data, wanted)
    assert search(Suspects(), wanted, bad, [])[1] == bad


def some_of(data: st.DataObject, wanted: frozenset[Want]) -> frozenset[Want]:
    """Any of them, but not all."""
    members = sorted(wanted, key=repr)
    good = data.draw(st.sampled_from(members))
    return frozenset(want for want in members if want != good and data.draw(st.booleans()))


@given(size=st.integers(1, 30), begins=st.integers(0, 60), lasts=st.integers(1, 200), data=st.data())
def test_an_exchange_that_refuses_everything_for_a_while_makes_nobody_guilty(
    size: int, begins: int, lasts: int, data: st.DataObject
) -> None:
    """And afterwards everything is asked for again."""
    wanted = frozenset(WANTS[:size])
    if size == 1:
        begins += 1  # what is alone must have been accepted once
    bad = some_of(data, wanted)
    assert search(Suspects(), wanted, bad, [], range(begins, begins + lasts))[1] == bad


@pytest.mark.parametrize("size", [2, 3, 12])
def test_where_nothing_is_ever_accepted_the_whole_is_asked_for_again_and_again(size: int) -> None:
    suspects, wanted, wholes = Suspects(), frozenset(WANTS[:size]), 0
    for _ in range(300):
        suspects.begin()
        asked = suspects.attempt(wanted).wants
        wholes += asked == wanted
        assert suspects.refused(asked, "INVALID_PARAM", "no") == []
    assert wholes > 300 / (2 * size + 1)


def refuse_often(suspects: Suspects, wanted: frozenset[Want], times: int) -> list[Want]:
    """Refuse whatever is asked for. Returns what has been found."""
    found: list[Want] = []
    for _ in range(times):
        suspects.begin()
        asked = suspects.attempt(wanted).wants
        found += [verdict.want for verdict in suspects.refused(asked, "INVALID_PARAM", "no")]
    return found


def test_what_is_alone_and_was_never_accepted_is_guilty_the_fifth_time() -> None:
    suspects, alone = Suspects(), frozenset(WANTS[:1])
    for _ in range(3):  # whoever wants it later, when it has been forgotten, has it tried as often again
        assert refuse_often(suspects, alone, 4) == []
        assert refuse_often(suspects, alone, 1) == [WANTS[0]]


def test_what_is_alone_and_was_accepted_before_is_never_guilty() -> None:
    suspects, alone, others = Suspects(), frozenset(WANTS[:1]), frozenset(WANTS[1:3])
    suspects.accepted(suspects.attempt(alone | others).wants)
    suspects.attempt(others)  # it is not wanted for a while
    assert refuse_often(suspects, alone, 100) == []
    assert suspects.attempt(alone).wants == alone


def test_what_was_refused_together_with_others_is_tried_as_often_when_they_have_left() -> None:
    suspects, alone = Suspects(), frozenset(WANTS[:1])
    assert refuse_often(suspects, alone, 4) == []
    assert refuse_often(suspects, frozenset(WANTS[:2]), 50) == []
    assert refuse_often(suspects, alone, 4) == []
    assert refuse_often(suspects, alone, 1) == [WANTS[0]]


@given(size=st.integers(2, 30), data=st.data())
def test_a_request_refused_by_chance_makes_nobody_guilty(size: int, data: st.DataObject) -> None:
    """However often, as long as it is never twice in a row."""
    wanted = frozenset(WANTS[:size])
    bad = frozenset(data.draw(st.lists(st.sampled_from(WANTS[:size]), max_size=1)))
    accidents = data.draw(st.lists(st.sampled_from([[False, True], [False]]), max_size=10))
    suspects = Suspects()
    assert search(suspects, wanted - bad, frozenset(), [one for pair in accidents for one in pair])[1] == set()
    assert search(suspects, wanted, bad, [])[1] == bad


@pytest.mark.parametrize("is_only_that", [True, False])
def test_nobody_is_guilty_before_the_exchange_has_accepted_a_request_without_it(is_only_that: bool) -> None:
    """It may refuse whatever it is asked."""
    suspects, known, new = Suspects(), frozenset(WANTS[:5]), WANTS[5]
    suspects.accepted(suspects.attempt(known).wants)
    suspects.refused(suspects.attempt(known | {new}).wants, "INVALID_PARAM", "no")
    suspects.begin()
    assert suspects.accepted(suspects.attempt(known | {new}).wants) == []
    trial = suspects.attempt(known | {new})
    assert trial.is_trial
    assert suspects.refused(trial.wants, "INVALID_PARAM", "no") == []
    suspects.begin()
    asked = suspects.attempt(known | {new}).wants
    assert asked == known
    if is_only_that:
        assert [verdict.want for verdict in suspects.accepted(asked)] == [new]
    else:
        assert suspects.refused(asked, "INVALID_PARAM", "no") == []
        suspects.begin()
        assert suspects.accepted(suspects.attempt(known | {new}).wants) == []


@given(data=st.data())
def test_wants_that_come_and_go_meanwhile_do_no_harm(data: st.DataObject) -> None:
    """Nor that the exchange refuses everything for a while, unless there is but one."""
    suspects, bad, found = Suspects(), frozenset(WANTS[:2]), set[Want]()
    some = st.frozensets(st.sampled_from(WANTS[:12]), min_size=1)
    always = data.draw(st.sampled_from([frozenset[Want](), frozenset(WANTS[10:12])]))
    malfunction = range(data.draw(st.integers(0, 20)), data.draw(st.integers(0, 30)) if always else 0)
    for number in range(data.draw(st.integers(1, 30))):
        wanted = (data.draw(some) | always) - found
        if not wanted:
            continue
        asked = suspects.attempt(wanted).wants
        assert asked
        assert asked <= wanted
        if asked & bad or number in malfunction:
            found |= {verdict.want for verdict in suspects.refused(asked, "INVALID_PARAM", "no")}
            suspects.begin()
        else:
            found |= {verdict.want for verdict in suspects.accepted(asked)}
        assert found <= bad
    everything = frozenset(WANTS[:12])
    assert found | search(suspects, everything - found, bad - found, [])[1] == bad


def test_while_a_search_is_on_new_wants_are_asked_for_at_once() -> None:
    suspects, old, new = Suspects(), frozenset(WANTS[:20]), WANTS[50]
    for _ in range(2):
        suspects.begin()
        suspects.refused(suspects.attempt(old).wants, "INVALID_PARAM", "no")
    suspects.begin()
    attempt = suspects.attempt(old | {new})
    assert attempt.wants == {new}
    assert not attempt.is_trial


@pytest.mark.parametrize("name", ["WRONG_FORMAT", "NO_TYPE", "NO_CODES", "INVALID_PARAM", "INVALID_LEVEL"])
def test_what_is_about_the_request(name: str) -> None:
    assert is_about_the_request(name)


@pytest.mark.parametrize(
    "name", ["TOO_MANY_REQUEST", "INVALID_AUTH", "INTERNAL_ERROR", "out_of_scope", "", "nonce_used"]
)
def test_what_is_not(name: str) -> None:
    assert not is_about_the_request(name)


def test_one_refusal_of_all_that_is_wanted_may_be_chance_and_the_second_begins_a_search() -> None:
    suspects, wanted = Suspects(), frozenset(WANTS[:12])
    assert refuse_often(suspects, wanted, 1) == []
    suspects.begin()
    again = suspects.attempt(wanted)
    assert (again.wants, again.is_trial) == (wanted, True)
    assert suspects.refused(again.wants, "INVALID_PARAM", "no") == []
    suspects.begin()
    assert suspects.attempt(wanted).wants < wanted


@pytest.mark.parametrize(("size", "part"), [(9, 1), (10, 1), (11, 2), (100, 10), (101, 11)])
def test_a_search_goes_on_in_ten_parts(size: int, part: int) -> None:
    suspects, wanted = Suspects(), frozenset(WANTS[:size])
    refuse_often(suspects, wanted, 2)
    suspects.begin()
    assert len(suspects.attempt(wanted).wants) == part


def test_what_is_suspected_stays_so_when_what_was_trusted_is_refused() -> None:
    suspects, good, bad = Suspects(), frozenset(WANTS[:3]), frozenset(WANTS[3:6])
    suspects.begin()
    suspects.accepted(suspects.attempt(good).wants)
    refuse_often(suspects, good | bad, 1)
    suspects.begin()
    assert suspects.attempt(good | bad).wants == good
    suspects.refused(good, "INVALID_PARAM", "no")
    suspects.begin()
    again = suspects.attempt(good | bad)
    assert (again.wants, again.is_trial) == (good, True)


def test_b1_what_was_accepted_long_ago_is_forgotten_when_there_is_too_much_of_it() -> None:
    """Of indicators there is no end. A want that was accepted once, and is alone now, is found guilty as a new one."""
    suspects = Suspects()
    first = Want(DataType.TRADE, "KRW-FIRST")
    asked = [frozenset([first]), *(frozenset([Want(DataType.TRADE, f"KRW-N{number}")]) for number in range(10_001))]
    for wants in asked:
        suspects.begin()
        assert suspects.attempt(wants).wants == wants
        suspects.accepted(wants)
    verdicts = []
    for _ in range(5):
        suspects.begin()
        verdicts += suspects.refused(suspects.attempt(frozenset([first])).wants, "INVALID_PARAM", "no")
    assert [verdict.want for verdict in verdicts] == [first]
