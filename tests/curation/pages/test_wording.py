import pytest

from curation.pages.wording import duration, percent, significant, size


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (duration(0.5 / 60), "30 s"), (duration(0.05), "3.0 min"), (duration(12.34), "12.3 h"),
        (duration(12345), "12 345 h"), (size(28_400_000), "28.4 MB"), (size(12), "12 B"),
        (percent(1, 3), "33 %"), (percent(1, 200), "0.5 %"), (percent(0, 0), "0 %"),
        (significant(0.012345), "0.0123"), (significant(1234.5), "1230"), (significant(0), "0"),
        (significant(1e-6), "1.00e-06"), (significant(None), "–"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written.replace("\u202f", " ") == expected
