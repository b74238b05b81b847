import base64
import hashlib
import re

import pytest

from benchmarks.report import synthetic_page, synthetic_version
from curation.report.page import MAX_BYTES


@pytest.fixture(scope="module")
def page() -> str:
    """Ten thousand clips, and as many pictures as a page holds, of the worst kind: noise."""
    return synthetic_page(synthetic_version(10_000))[1]


def test_ten_thousand_clips_fit(page: str) -> None:
    assert 5_000_000 < len(page.encode()) <= MAX_BYTES


def test_the_security_policy_names_the_page_s_own_script_and_style(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        # Jinja writes base64's plus sign as an entity, which a browser reads as a plus.
        allowed = policy[1].replace("&#39;", "'").replace("&#43;", "+")
        assert f"{directive} 'sha256-{digest}'" in allowed
    assert "default-src 'none'" in policy[1].replace("&#39;", "'")


def test_no_markup_carries_style_or_handlers_that_the_policy_forbids(page: str) -> None:
    markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.findall(r"\s(?:style|on\w+)=", markup)
