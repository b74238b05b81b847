import pytest

from evaluation.variants import Variant, labels

PAPER = "f(6,12,24)m(1,2,4)"


def test_labels_say_what_differs_and_no_more() -> None:
    fast = Variant("f(6,24)m(1,4)", 121)
    assert labels([Variant(PAPER, 121)]) == [PAPER]
    assert labels([fast, Variant(PAPER, 121)]) == ["f(6,24)m(1,4)", PAPER]
    assert labels([Variant(PAPER, 121), Variant(PAPER, 500)]) == [
        f"{PAPER}, 121 frames", f"{PAPER}, 500 frames"
    ]  # fmt: skip
    assert labels([Variant(PAPER, 481), Variant(PAPER, 481, continued=480)]) == [
        f"{PAPER}, not continued", f"{PAPER}, +480"
    ]  # fmt: skip
    # Steps that are named are told from the defaults.
    assert labels([Variant(PAPER, 121), Variant(PAPER, 121, (9, 8, 7))]) == [
        f"{PAPER}, 50,40,30 steps", f"{PAPER}, 9,8,7 steps"
    ]  # fmt: skip


def test_refused_variants() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Variant(PAPER, 0)
    with pytest.raises(ValueError, match="only a video at that rate can be continued"):
        Variant("f(6,12)m(1,2)", 121, continued=480)
    with pytest.raises(ValueError, match="the same"):
        labels([Variant(PAPER, 121), Variant(PAPER, 121)])
    with pytest.raises(ValueError, match="steps"):
        Variant(PAPER, 121, (50, 30))
