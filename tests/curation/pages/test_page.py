import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from curation.pages.page import Parts, render, script_json


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_embedded_json_is_json_and_holds_nothing_that_html_minds(value: object) -> None:
    text = str(script_json(value))
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


def test_a_page_plays_only_what_it_is_made_to_play(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '{% extends "frame.html" %}{% block title %}{{ words }}{% endblock %}'
    )
    silent = render("page.html", Parts(tmp_path, ("base.css",)), words="<b>")
    assert "media-src" not in silent
    assert "<title>&lt;b&gt;</title>" in silent
    playing = render("page.html", Parts(tmp_path, ("base.css",), media="data:"), words="")
    assert "media-src data:;" in playing
